package initd

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"clone/internal/initrd/bootconf"
)

const (
	agentName = "clone-agent"
	// agentOOMScore keeps the kernel from choosing the agent when a guest
	// runs out of memory: it is small, and without it nobody can look.
	agentOOMScore = "-900"
	agentNice     = -10
	maxAgentBytes = 64 << 20
	// mfdExec is MFD_EXEC of Linux 6.3 (include/uapi/linux/memfd.h): without
	// it, those kernels may refuse to run a memfd.
	mfdExec = 0x10
)

// agentFile copies the agent into a sealed memfd: it must outlive the initrd
// and be in no file system of the image.
func agentFile() (int, error) {
	program, err := os.ReadFile(bootconf.AgentPath)
	if err == nil && len(program) > maxAgentBytes {
		err = errTooLarge
	}
	if err != nil {
		return -1, explain("read the agent", err)
	}
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(agentName, flags|mfdExec)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(agentName, flags)
	}
	if err != nil {
		return -1, explain("make room for the agent", err)
	}
	for len(program) > 0 {
		n, err := unix.Write(fd, program)
		if err != nil {
			return -1, explain("copy the agent", err)
		}
		program = program[n:]
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return -1, explain("seal the agent", err)
	}
	return fd, nil
}

// startAgent runs the agent as a child in a session of its own, reading
// nothing and writing to the kernel log. It closes fd.
func startAgent(fd int) error {
	defer unix.Close(fd)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return explain("start the agent", err)
	}
	defer null.Close()
	log, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		log = null
	} else {
		defer log.Close()
	}
	// What makes a fork ready competes with what wakes up because of it (a changed clock, a new host name), so the agent
	// goes first. A thread's nice value is its children's, so it is set here for a moment; after the start would be too
	// late for the threads that the runtime has made by then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, agentNice)
	defer unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	pid, err := syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(fd), []string{agentName}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=" + defaultPath, "HOME=/root"},
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return explain("start the agent", err)
	}
	if err := os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(agentOOMScore), 0); err != nil {
		say(explain("protect the agent from the OOM killer", err).Error())
	}
	return nil
}
