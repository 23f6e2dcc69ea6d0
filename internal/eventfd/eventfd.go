// Package eventfd wraps the kernel's eventfd(2) as an owned descriptor: what KVM's ioeventfd signals and its irqfd
// waits for. It knows nothing of queues or interrupts.
package eventfd

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Event is one eventfd in non-blocking mode, so that a waiting goroutine parks in the runtime's poller, not in a thread.
type Event struct {
	f           *os.File
	fd          int
	raw         syscall.RawConn // of f: holds the descriptor open while we write to it
	interrupted atomic.Bool
}

// New makes an event with count zero.
func New() (*Event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	f := os.NewFile(uintptr(fd), "eventfd")
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Event{f: f, fd: fd, raw: raw}, nil
}

// FD is the descriptor, for KVM and vhost. The event keeps owning it.
func (e *Event) FD() int { return e.fd }

// Signal adds one to the count. It never blocks: a full counter is signalled already. After Close it does nothing;
// the number of the descriptor may belong to someone else by then.
func (e *Event) Signal() { _ = e.raw.Control(addOne) }

func addOne(fd uintptr) {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], 1)
	_, _ = unix.Write(int(fd), b[:])
}

// Wait returns true after the count was above zero and is taken back to zero, false once Interrupt or Close was called.
func (e *Event) Wait() bool {
	var b [8]byte
	_, err := e.f.Read(b[:])
	return err == nil
}

// Interrupt makes the present and every later Wait return false until Rearm. Signals are kept.
func (e *Event) Interrupt() {
	e.interrupted.Store(true)
	_ = e.f.SetReadDeadline(time.Unix(1, 0))
}

// Interrupted tells whether Interrupt was called since the last Rearm: whoever waits on this event, or works because
// of it, is asked to come back.
func (e *Event) Interrupted() bool { return e.interrupted.Load() }

// Rearm takes back Interrupt.
func (e *Event) Rearm() {
	e.interrupted.Store(false)
	_ = e.f.SetReadDeadline(time.Time{})
}

// Close releases the descriptor.
func (e *Event) Close() error {
	if err := e.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
