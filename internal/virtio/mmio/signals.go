package mmio

import (
	"sync"
	"sync/atomic"
)

// signals is what the device tells the driver: status, interrupt status and configuration generation. Any goroutine
// of a device may use it while Slot.mu is held elsewhere to join that very goroutine, so its lock is the innermost.
// The words are read without it.
type signals struct {
	raise func()

	status     atomic.Uint32
	interrupt  atomic.Uint32
	generation atomic.Uint32

	mu      sync.Mutex // guards changes of status, and epoch and failure
	epoch   uint64     // counts resets: a session of an earlier epoch is over
	failure error
}

// usedBuffer raises the used buffer notification (virtio 1.2 §2.3).
func (g *signals) usedBuffer() { g.notify(interruptUsedBuffer) }

// notify sets the bit before the edge: the driver's handler ignores an interrupt whose status reads zero.
func (g *signals) notify(bit uint32) {
	g.interrupt.Or(bit)
	g.raise()
}

// configChanged raises the configuration change notification for a session of that epoch.
func (g *signals) configChanged(epoch uint64) {
	g.mu.Lock()
	live := g.epoch == epoch
	if live {
		g.generation.Add(1)
		g.interrupt.Or(interruptConfigChange)
	}
	g.mu.Unlock()
	if live {
		g.raise()
	}
}

// fail sets DEVICE_NEEDS_RESET for a session of that epoch and tells the driver (virtio 1.2 §2.1.2). The first
// reason is kept.
func (g *signals) fail(epoch uint64, err error) {
	g.mu.Lock()
	live := g.epoch == epoch
	if live {
		if g.failure == nil {
			g.failure = err
		}
		g.status.Or(statusNeedsReset)
		g.interrupt.Or(interruptConfigChange)
	}
	g.mu.Unlock()
	if live {
		g.raise()
	}
}

// reset ends the epoch. The generation goes on: a driver compares it with what it read before.
func (g *signals) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.epoch++
	g.failure = nil
	g.status.Store(0)
	g.interrupt.Store(0)
}

// accept sets status bits that the driver asked for.
func (g *signals) accept(bits uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status.Or(bits)
}

func (g *signals) has(bit uint32) bool { return g.status.Load()&bit != 0 }

func (g *signals) current() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epoch
}

func (g *signals) reason() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failure
}
