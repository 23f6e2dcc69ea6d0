package agentd

import (
	"os"
	"strconv"
	"syscall"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// Exit statuses of commands that never ran, as shells give them (POSIX.1-2017,
// XCU 2.8.2).
const (
	statusNotRunnable = 126
	statusNotFound    = 127
)

// notRun is a command that could not be run, for a reason its user must see.
type notRun struct {
	status uint8
	what   string
	err    error
}

func (e *notRun) Error() string {
	if e.err == nil {
		return e.what
	}
	return e.what + ": " + e.err.Error()
}

// process is a started command and the agent's ends of its streams.
type process struct {
	pid    int
	tty    *os.File                     // master side, or nil
	stdin  *os.File                     // nil without Stdin
	output [agentproto.Streams]*os.File // by Stream; nil: no such stream
}

func (p *process) close() {
	for _, f := range append(p.output[:], p.tty, p.stdin) {
		if f != nil {
			f.Close() // again, for most: harmless
		}
	}
}

// launch starts a command in a session of its own.
func launch(sys System, spec agentproto.Exec) (*process, error) {
	who, err := lookupAccount(sys, spec.User)
	if err != nil {
		return nil, err
	}
	dir, err := directory(spec.Dir, who.home)
	if err != nil {
		return nil, err
	}
	env := environment(who, spec)
	path, err := lookPath(spec.Args[0], env.get("PATH"), dir)
	if err != nil {
		return nil, err
	}

	p := &process{}
	files, err := p.open(spec, who)
	defer closeAll(files)
	if err != nil {
		p.close()
		return nil, err
	}
	attr := &syscall.ProcAttr{
		Dir: dir, Env: env.list, Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: spec.TTY, Credential: who.credential()},
	}
	p.pid, err = syscall.ForkExec(path, spec.Args, attr)
	if err == unix.ENOEXEC {
		// A script without "#!": to the shell with it, as execvp(3) does.
		args := append([]string{"sh", path}, spec.Args[1:]...)
		p.pid, err = syscall.ForkExec("/bin/sh", args, attr)
	}
	if err != nil {
		p.close()
		status := uint8(statusNotRunnable)
		if err == unix.ENOENT {
			status = statusNotFound
		}
		return nil, &notRun{status, spec.Args[0], err}
	}
	commonProcess(p.pid)
	return p, nil
}

// commonProcess takes back what a command has inherited from the agent and no other process of the machine has: its place
// before others, and its protection from the OOM killer.
func commonProcess(pid int) {
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, 0)
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("0"), 0)
}

// directory is where the command runs.
func directory(asked, home string) (string, error) {
	if asked == "" {
		if st, err := os.Stat(home); err == nil && st.IsDir() {
			return home, nil
		}
		return "/", nil
	}
	st, err := os.Stat(asked)
	if err == nil && !st.IsDir() {
		err = unix.ENOTDIR
	}
	if err != nil {
		return "", &notRun{statusNotRunnable, "working directory", err}
	}
	return asked, nil
}

// open makes the streams and returns the command's ends of them, to be closed
// after it was started or was not.
func (p *process) open(spec agentproto.Exec, who account) ([]uintptr, error) {
	if spec.TTY {
		master, peer, err := openTerminal(spec.Rows, spec.Cols, who.uid)
		if err != nil {
			return nil, err
		}
		p.tty, p.output[agentproto.Stdout] = master, master
		if spec.Stdin {
			p.stdin = master
		}
		return []uintptr{peer, peer, peer}, nil
	}
	var files []uintptr
	in, err := p.openStdin(spec.Stdin, who.uid)
	if err != nil {
		return files, err
	}
	files = append(files, in)
	for _, s := range []agentproto.Stream{agentproto.Stdout, agentproto.Stderr} {
		mine, theirs, err := pipe(false, who.uid)
		if err != nil {
			return files, err
		}
		p.output[s] = mine
		files = append(files, theirs)
	}
	return files, nil
}

func (p *process) openStdin(wanted bool, uid uint32) (uintptr, error) {
	if !wanted {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, failed("/dev/null", err)
		}
		return uintptr(fd), nil
	}
	mine, theirs, err := pipe(true, uid)
	p.stdin = mine
	return theirs, err
}

// pipe makes a pipe whose end mine is non-blocking, for the poller, and writes
// or reads; theirs is blocking and belongs to the user uid, who may then open it
// as /dev/stdout.
func pipe(write bool, uid uint32) (mine *os.File, theirs uintptr, err error) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		return nil, 0, failed("pipe", err)
	}
	m, t := fd[0], fd[1]
	if write {
		m, t = t, m
	}
	err = unix.SetNonblock(m, true)
	if err == nil && uid != 0 {
		err = unix.Fchown(t, int(uid), -1)
	}
	if err != nil {
		unix.Close(m)
		unix.Close(t)
		return nil, 0, failed("set up pipe", err)
	}
	return os.NewFile(uintptr(m), "pipe"), uintptr(t), nil
}

func closeAll(fds []uintptr) {
	for i, fd := range fds {
		if i > 0 && fd == fds[i-1] { // a terminal is all three
			continue
		}
		unix.Close(int(fd))
	}
}
