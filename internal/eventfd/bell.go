package eventfd

import (
	"os"

	"golang.org/x/sys/unix"
)

// Bell is an eventfd for one thread that waits in the system call itself. Waking a goroutine that keeps its thread goes
// through the scheduler, which first wakes another thread to hand it over: two wake-ups where this is one.
type Bell struct{ fd int }

// NewBell makes a bell that has not rung.
func NewBell() (*Bell, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &Bell{fd}, nil
}

// Ring ends the present Wait, or the next one.
func (b *Bell) Ring() { addOne(uintptr(b.fd)) }

// Wait returns after a Ring, and may return without one.
func (b *Bell) Wait() {
	var count [8]byte
	_, _ = unix.Read(b.fd, count[:])
}

// Close releases the descriptor. Nobody may wait or ring any more.
func (b *Bell) Close() error { return unix.Close(b.fd) }
