package mmio

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"clone/internal/eventfd"
	"clone/internal/guestmem"
	"clone/internal/virtio"
)

// Slot is one virtio-mmio register window, empty or with a device in it. Read and Write may be called from several
// vCPU threads at a time; Pause, Resume, Save, Load, Plug and Close only while no vCPU runs.
type Slot struct {
	mem     *guestmem.Memory
	card    atomic.Pointer[card] // nil in an empty slot
	signals signals

	// mu guards the rest. It is held while workers are joined: nothing that a device calls may take it.
	mu      sync.Mutex
	regs    registers
	rings   []*virtio.Queue  // of the running device, nil when it does not run
	workers []*virtio.Worker // one for each ready ring
	paused  bool
}

// card is what Plug put into the slot; it never changes afterwards.
type card struct {
	dev      virtio.Device
	spec     virtio.Spec
	features uint64 // offered: the device's and the ring's
	kicks    []*eventfd.Event
}

// registers is what the driver programmed since the last reset. The queues' indexes are those of the last halt.
type registers struct {
	deviceFeaturesSel uint32
	driverFeaturesSel uint32
	driverFeatures    uint64
	queueSel          uint32
	queues            []virtio.QueueState
}

// New returns an empty slot. interrupt raises the slot's edge-triggered interrupt; it must not block and may be
// called from any goroutine.
func New(mem *guestmem.Memory, interrupt func()) *Slot {
	s := &Slot{mem: mem}
	s.signals.raise = interrupt
	return s
}

// Plug puts a device into an empty slot, and makes its notification events.
func (s *Slot) Plug(dev virtio.Device) error {
	if s.card.Load() != nil {
		return errors.New("virtio-mmio slot holds a device already")
	}
	c := &card{dev: dev, spec: dev.Spec()}
	if c.spec.Type == 0 || c.spec.Features&virtio.RingFeatures != 0 {
		return fmt.Errorf("virtio device type %d with features %#x cannot be plugged", c.spec.Type, c.spec.Features)
	}
	for i, n := range c.spec.QueueSizes {
		if !validSize(uint32(n), virtio.QueueSizeMax) {
			return fmt.Errorf("virtio device type %d: size %d of queue %d is no power of two up to %d",
				c.spec.Type, n, i, virtio.QueueSizeMax)
		}
	}
	c.features = c.spec.Features | virtio.RingFeatures
	for range c.spec.QueueSizes {
		kick, err := eventfd.New()
		if err != nil {
			return errors.Join(err, c.closeKicks())
		}
		c.kicks = append(c.kicks, kick)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regs = c.resetRegisters()
	s.card.Store(c)
	return nil
}

// Device returns what was plugged, nil in an empty slot.
func (s *Slot) Device() virtio.Device {
	if c := s.card.Load(); c != nil {
		return c.dev
	}
	return nil
}

// Kicks returns the notification events, one for each queue in order. They belong to the slot and last until Close.
func (s *Slot) Kicks() []*eventfd.Event {
	if c := s.card.Load(); c != nil {
		return c.kicks
	}
	return nil
}

// Failure is why the device reads as DEVICE_NEEDS_RESET; nil when it does not, and after a restore.
func (s *Slot) Failure() error { return s.signals.reason() }

// Close stops the device and releases the events. The slot must not be used afterwards.
func (s *Slot) Close() error {
	s.Pause()
	if c := s.card.Load(); c != nil {
		return c.closeKicks()
	}
	return nil
}

func (c *card) closeKicks() error {
	var errs []error
	for _, kick := range c.kicks {
		errs = append(errs, kick.Close())
	}
	return errors.Join(errs...)
}

func (c *card) resetRegisters() registers {
	return registers{queues: make([]virtio.QueueState, len(c.spec.QueueSizes))}
}

// validSize tells whether n is a legal size of a split queue (virtio 1.2 §2.7).
func validSize(n, limit uint32) bool { return n != 0 && n&(n-1) == 0 && n <= limit }
