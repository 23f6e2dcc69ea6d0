package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"clone/internal/control"
)

// A VM with a memory limit, in the foreground, is a child of the command: where the kernel kills it at its limit, somebody
// must be left to say so.
const supervisedVariable = "CLONE_SUPERVISED"

// isSupervised tells whether this process is that child.
func isSupervised() bool {
	if os.Getenv(supervisedVariable) == "" {
		return false
	}
	os.Unsetenv(supervisedVariable)
	return true
}

// supervise runs this command line as a child with the same terminal, and ends as it does.
func supervise() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, endingSignals(unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)...)
	defer signal.Stop(signals)
	child := exec.Command(self, os.Args[1:]...)
	child.Env = append(os.Environ(), supervisedVariable+"=1")
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The VM is this command: it does not outlive it. The kernel watches the thread that starts the child.
	runtime.LockOSThread()
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	restore := keepTerminal(os.Stdin)
	if err := child.Start(); err != nil {
		return err
	}
	over := make(chan error, 1)
	go func() { over <- child.Wait() }()
	for {
		select {
		case s := <-signals:
			if !sentToBoth(s) {
				_ = child.Process.Signal(s)
			}
		case err := <-over:
			restore() // before anything is said
			return endOfChild(child.Process.Pid, child.ProcessState, err)
		}
	}
}

// sentToBoth tells whether the child has the signal already: what is typed at a terminal goes to parent and child, and a
// command that is interrupted twice takes it for more than it was. What kill(1) sent looks the same: a SIGINT to a command
// in the foreground has to be typed, a SIGTERM has not.
func sentToBoth(s os.Signal) bool {
	return (s == unix.SIGINT || s == unix.SIGQUIT) && interruptible()
}

// keepTerminal notes how a terminal is set, and returns what sets it so again: a child that is killed leaves it raw.
func keepTerminal(f *os.File) (restore func()) {
	fd := int(f.Fd())
	was, err := term.GetState(fd)
	if err != nil || inBackground(fd) { // no terminal, or one that is set as another job likes it
		return func() {}
	}
	return func() {
		if !inBackground(fd) {
			_ = term.Restore(fd, was)
		}
	}
}

// endOfChild is how the end of a VM's process is told by the one that waited for it. A process that ended by itself has said
// what there was to say.
func endOfChild(pid int, state *os.ProcessState, err error) error {
	if state == nil {
		return err
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return exitStatus(state.ExitCode())
	}
	if err := atLimit("", pid); err != nil {
		return err
	}
	return failure(128+int(status.Signal()), fmt.Errorf("the VM's process was killed (%v)", status.Signal()))
}

// atLimit is the failure of a VM that was killed at its memory limit, nil for any other. It names the VM by id, or by PID.
func atLimit(id string, pid int) error {
	registry, err := control.Open()
	if err != nil {
		return nil
	}
	end, ok := registry.EndOf(id, pid)
	if !ok || !end.AtLimit {
		return nil
	}
	return failure(statusLimit, fmt.Errorf("VM %s: %s", end.Info, end.Reason))
}

// whyEnded is why a VM that just went away was killed, empty where that is not known.
func whyEnded(registry *control.Registry, vm control.Info) string {
	if vm.MemMax == 0 || !awaitGone(registry, vm) {
		return ""
	}
	end, _ := registry.EndOf(vm.ID, 0)
	return end.Reason
}

// awaitGone waits for the end of a VM that has closed a connection, and tells whether it came. A process that is ending closes
// its connections a moment before it is gone: on a busy host the kernel takes a while for its part of a machine.
func awaitGone(registry *control.Registry, vm control.Info) bool {
	const moment = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), moment)
	defer cancel()
	p, err := registry.OpenProcess(vm)
	if err != nil {
		return errors.Is(err, control.ErrGone)
	}
	defer p.Close()
	return p.Wait(ctx) == nil
}
