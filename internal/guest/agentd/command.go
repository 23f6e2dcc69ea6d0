package agentd

import (
	"os"
	"sync"
	"time"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

const (
	// killGrace is what a command gets to end after SIGHUP, before SIGKILL.
	killGrace = time.Second
	// drainGrace is how long output is still waited for after a command exited
	// while something else holds its pipe open: enough for the end of a
	// pipeline to write its last line.
	drainGrace = 250 * time.Millisecond
	// maxPending bounds the signals kept for a command that is being started.
	maxPending = 16
)

// command is the process of an Exec and what is asked of it. Signals, sizes and
// the hang-up may come at any time: before the process exists they wait, and
// after it was reaped they are dropped, since its id may be another's by then.
type command struct {
	spec agentproto.Exec

	mu      sync.Mutex
	pid     int      // of the process, and of its group; 0: not running
	reaped  bool     // was running
	tty     *os.File // master side, or nil
	hung    bool
	kill    *time.Timer
	pending []unix.Signal
	size    *agentproto.Resize
}

// started makes the running process known and does what came too early.
func (c *command) started(pid int, tty *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pid, c.tty = pid, tty
	if c.size != nil {
		c.setSize(*c.size)
	}
	for _, sig := range c.pending {
		c.send(sig)
	}
	c.pending = nil
	if c.hung {
		c.sendHangUp()
	}
}

// reap collects the process, if it has exited, and forgets its id.
func (c *command) reap(pid int) (unix.WaitStatus, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ws unix.WaitStatus
	for {
		got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err == nil && got != pid {
			return 0, false
		}
		// An error means that somebody else reaped it: it is gone all the same.
		break
	}
	c.pid, c.reaped, c.tty = 0, true, nil
	if c.kill != nil {
		c.kill.Stop()
	}
	return ws, true
}

func (c *command) signal(sig unix.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.pid != 0:
		c.send(sig)
	case !c.reaped && len(c.pending) < maxPending:
		c.pending = append(c.pending, sig)
	}
}

// send signals the process group, as a terminal would. It fails only when the
// group is gone, which is what the exit status tells.
func (c *command) send(sig unix.Signal) { _ = unix.Kill(-c.pid, sig) }

func (c *command) resize(m agentproto.Resize) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tty != nil {
		c.setSize(m)
	} else if !c.reaped {
		c.size = &m
	}
}

// setSize makes the kernel send SIGWINCH to the foreground group.
func (c *command) setSize(m agentproto.Resize) {
	if c.tty == nil {
		return
	}
	_ = control(c.tty, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: m.Rows, Col: m.Cols})
	})
}

// hangUp ends the command as a lost terminal line does, and makes sure.
func (c *command) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hung || c.reaped {
		return
	}
	c.hung = true
	if c.pid != 0 {
		c.sendHangUp()
	}
}

// sendHangUp sends SIGHUP, SIGCONT for those that are stopped, and SIGKILL later.
// What ignored SIGHUP and outlives the command itself (nohup) is left alone.
func (c *command) sendHangUp() {
	c.send(unix.SIGHUP)
	c.send(unix.SIGCONT)
	c.kill = time.AfterFunc(killGrace, func() { c.signal(unix.SIGKILL) })
}

// abandoned tells whether the command was hung up before it was started.
func (c *command) abandoned() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hung
}

// wait returns when the process has exited and was reaped. The process file
// descriptor waits in the runtime's poller, so that a thousand idle shells are
// not a thousand threads.
func (c *command) wait(pid int) unix.WaitStatus {
	var ws unix.WaitStatus
	if fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); err == nil {
		f := os.NewFile(uintptr(fd), "pidfd")
		defer f.Close()
		if raw, err := f.SyscallConn(); err == nil {
			err = raw.Read(func(uintptr) bool {
				var ok bool
				ws, ok = c.reap(pid)
				return ok
			})
			if err == nil {
				return ws
			}
		}
	}
	// Kernels before 5.10: a thread that waits, without reaping, because reap
	// must exclude signals.
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if ws, ok := c.reap(pid); ok {
			return ws
		}
	}
}

// control runs fn on the descriptor of f without taking f out of the poller, as
// f.Fd would.
func control(f *os.File, fn func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = fn(int(fd)) }); err != nil {
		return err
	}
	return failure
}
