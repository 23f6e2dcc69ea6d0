package virtiotest

import (
	"sync"
	"sync/atomic"

	"clone/internal/virtio/mmio"
)

// line is the interrupt line of one slot and the handler behind it.
type line struct {
	slot     *mmio.Slot
	masked   atomic.Bool // no vCPU runs: the edge is lost
	observer *observer

	mu    sync.Mutex
	woken chan struct{} // closed and replaced by each interrupt: wakes every waiter
}

func newLine(o *observer) *line {
	return &line{observer: o, woken: make(chan struct{})}
}

// raise is the guest's handler (virtio 1.2 §4.2.3.4): an interrupt without a status bit is not ours.
func (l *line) raise() {
	if l.masked.Load() {
		return
	}
	var b [4]byte
	l.slot.Read(RegInterruptStatus, b[:])
	if b == [4]byte{} {
		return
	}
	l.slot.Write(RegInterruptACK, b[:])
	l.observer.wake()
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.woken)
	l.woken = make(chan struct{})
}

// next is closed by the first interrupt after the call.
func (l *line) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.woken
}
