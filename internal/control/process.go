package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a VM's process, held by a descriptor (pidfd_open(2)): it stays the VM's, whatever becomes of its PID.
type Process struct {
	f    *os.File
	info Info
}

// OpenProcess opens the process of a live VM. Its error wraps ErrGone where the VM has ended.
func (r *Registry) OpenProcess(info Info) (*Process, error) {
	gone := fmt.Errorf("VM %s: %w", info, ErrGone)
	fd, err := unix.PidfdOpen(info.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("VM %s: process %d: %w", info, info.PID, os.NewSyscallError("pidfd_open", err))
	}
	p := &Process{f: os.NewFile(uintptr(fd), "pidfd"), info: info}
	// The lock is asked after the descriptor was made: a VM that is alive now was alive then, so the PID was its own.
	alive, err := r.Alive(info.ID)
	if err == nil && !alive {
		err = gone
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close releases the descriptor.
func (p *Process) Close() error { return p.f.Close() }

// Kill ends the process without asking anybody.
func (p *Process) Kill() error {
	err := unix.PidfdSendSignal(int(p.f.Fd()), unix.SIGKILL, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing VM %s: %w", p.info, err)
	}
	return nil
}

// Wait returns nil when the process has ended, and ctx's error when that ends first.
func (p *Process) Wait(ctx context.Context) error {
	// A pidfd is readable when its process has ended. Poll wakes up now and then to look at ctx.
	const look = 20 * time.Millisecond
	for {
		fds := []unix.PollFd{{Fd: int32(p.f.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(look.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("waiting for VM %s: %w", p.info, os.NewSyscallError("poll", err))
		}
		if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
