package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A detached VM is this program again in a session of its own, with a pipe on which it says, in one line, that it is
// ready or why it is not.
const reportVariable = "CLONE_DETACHED"

const reportFD = 3

// report is the detached process's end of the pipe.
type report struct {
	f    *os.File
	told atomic.Bool // it is being told, or has been: that it hangs up then is as it should be
}

// detachedReport returns the pipe if this process is the detached one.
func detachedReport() *report {
	if os.Getenv(reportVariable) == "" {
		return nil
	}
	os.Unsetenv(reportVariable)
	unix.CloseOnExec(reportFD)
	_ = unix.SetNonblock(reportFD, true) // so that the runtime can wait for it, without a thread
	return &report{f: os.NewFile(reportFD, "report")}
}

// abandoned calls end when the waiting process dies before it was told anything: nobody knows of this VM then.
func (r *report) abandoned(end func()) {
	conn, err := r.f.SyscallConn()
	if err != nil {
		return
	}
	go func() {
		// A pipe that nobody can read any more has an error condition (poll(2)), which wakes up whoever waits to read.
		_ = conn.Read(func(fd uintptr) bool {
			fds := []unix.PollFd{{Fd: int32(fd)}}
			n, _ := unix.Poll(fds, 0)
			hungUp := n > 0 && fds[0].Revents&unix.POLLERR != 0
			if hungUp && !r.told.Load() {
				end()
			}
			return hungUp
		})
	}()
}

// say tells the waiting process, once; an error means that it waits no more.
func (r *report) say(line string) error {
	if r.f == nil {
		return nil
	}
	r.told.Store(true) // before it can hang up on having read this
	_, err := fmt.Fprintln(r.f, line)
	r.f.Close()
	r.f = nil
	return err
}

// ready also puts this process's output where it belongs when nobody reads it any more: what it says on standard error is
// the Go runtime's last words, into the file log for whoever reaps the VM.
func (r *report) ready(id, log string) error {
	err := r.say("ready " + id)
	redirect(1, os.DevNull, os.O_WRONLY)
	redirect(2, log, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
	return err
}

// redirect makes a descriptor one of a file, of nothing where that cannot be opened.
func redirect(fd int, path string, mode int) {
	f, err := os.OpenFile(path, mode, 0o600)
	if err != nil {
		if f, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return
		}
	}
	_ = unix.Dup2(int(f.Fd()), fd)
	f.Close()
}

// failed tells why there is no VM, or none any more. It returns what is left to be said by this process itself: nothing
// that the waiting one has been told.
func (r *report) failed(err error) error {
	message := messageOf(err)
	if message == "" || r.f == nil || r.say("failed "+message) != nil {
		return err
	}
	return exitStatus(statusOf(err))
}

// detached is a VM's process on its way to readiness, and the pipe on which it reports.
type detached struct {
	child *exec.Cmd
	line  chan string // its report; empty where it ended without one
}

// startDetached starts this program again with these arguments.
func startDetached(args []string) (*detached, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	child := exec.Command(self, args...)
	child.Env = append(os.Environ(), reportVariable+"=1")
	child.Stderr = os.Stderr
	child.ExtraFiles = []*os.File{theirs}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, err
	}
	d := &detached{child, make(chan string, 1)}
	go func() {
		defer ours.Close()
		text, _ := bufio.NewReader(ours).ReadString('\n')
		d.line <- strings.TrimSpace(text)
	}()
	return d, nil
}

var errInterrupted = errors.New("interrupted")

// await returns the VM's id when it is ready: tell is to be called with it. When done is closed first, the VM is ended.
func (d *detached) await(done <-chan struct{}) (id string, err error) {
	var text string
	select {
	case text = <-d.line:
	case <-done:
		select {
		case text = <-d.line: // it was ready before
		default:
			d.end()
			return "", failure(128+int(unix.SIGINT), errInterrupted)
		}
	}
	if id, ok := strings.CutPrefix(text, "ready "); ok {
		return id, nil
	}
	waitErr := d.child.Wait()
	status := statusFailure
	var exit *exec.ExitError
	if errors.As(waitErr, &exit) && exit.ExitCode() > 0 {
		status = exit.ExitCode()
	}
	if message, ok := strings.CutPrefix(text, "failed "); ok {
		return "", failure(status, errors.New(message))
	}
	if err := atLimit("", d.child.Process.Pid); err != nil {
		return "", err
	}
	return "", failure(status, errors.New("the VM ended before its guest was ready"))
}

// end ends the VM and waits for it.
func (d *detached) end() {
	_ = d.child.Process.Signal(syscall.SIGTERM)
	_ = d.child.Wait()
}

// tell prints the id of a VM that is ready, and leaves it alone. One whose id cannot be printed is to be ended: nobody
// knows of it.
func (d *detached) tell(out io.Writer, id string) error {
	if _, err := fmt.Fprintln(out, id); err != nil {
		return fmt.Errorf("its id cannot be printed, so VM %s was ended: %w", id, err)
	}
	return d.child.Process.Release()
}

// spawn starts the detached process, waits for its report, and prints the VM's id alone on standard output. Ctrl-C
// while waiting ends the VM.
func (f *vmFlags) spawn(cmd *cobra.Command) error {
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	defer keepOutput()()
	d, err := startDetached(os.Args[1:])
	if err != nil {
		return err
	}
	id, err := d.await(ctx.Done())
	if err != nil {
		return err
	}
	if err = d.tell(cmd.OutOrStdout(), id); err != nil {
		d.end()
	}
	return err
}
