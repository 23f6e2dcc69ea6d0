package mmio

import (
	"fmt"

	"clone/internal/virtio"
)

// gate keeps a device that needs a reset from being served: its rings make no sense.
type gate struct {
	virtio.Device
	signals *signals
}

func (g gate) HandleQueue(i int) {
	if !g.signals.has(statusNeedsReset) {
		g.Device.HandleQueue(i)
	}
}

// start builds the rings, hands the session to the device and begins to listen. Called with mu held.
func (s *Slot) start(c *card, resumed bool) error {
	epoch := s.signals.current()
	session := &virtio.Session{
		Features:      s.regs.driverFeatures,
		Memory:        s.mem,
		Resumed:       resumed,
		Fail:          func(err error) { s.signals.fail(epoch, err) },
		ConfigChanged: func() { s.signals.configChanged(epoch) },
	}
	for i := range s.regs.queues {
		q, err := s.newQueue(c, i)
		if err != nil {
			return err
		}
		session.Queues = append(session.Queues, q)
	}
	rings := append([]*virtio.Queue{}, session.Queues...) // ours to read in halt, whatever the device does to its slice
	if err := c.dev.Start(session); err != nil {
		return fmt.Errorf("start virtio device type %d: %w", c.spec.Type, err)
	}
	s.rings = rings
	for i, q := range rings {
		if q.Ready {
			s.workers = append(s.workers, virtio.StartWorker(gate{c.dev, &s.signals}, i, c.kicks[i]))
		}
	}
	return nil
}

func (s *Slot) newQueue(c *card, i int) (*virtio.Queue, error) {
	q, err := virtio.NewQueue(s.regs.queues[i], virtio.QueueWiring{
		Memory:    s.mem,
		Features:  s.regs.driverFeatures,
		Kick:      c.kicks[i],
		Interrupt: s.signals.usedBuffer,
	})
	if err != nil {
		return nil, fmt.Errorf("queue %d: %w", i, err)
	}
	return q, nil
}

// halt stops a running device and keeps where its rings stand. Called with mu held.
func (s *Slot) halt(c *card) {
	if s.rings == nil {
		return
	}
	for _, w := range s.workers {
		w.Stop()
	}
	c.dev.Stop()
	for i, q := range s.rings {
		s.regs.queues[i] = q.QueueState
	}
	s.rings, s.workers = nil, nil
}

// reset is the driver's write of zero to Status (virtio 1.2 §2.4). Called with mu held.
func (s *Slot) reset(c *card) {
	s.halt(c)
	s.regs = c.resetRegisters()
	s.signals.reset()
}

// Pause stops the device: when it returns nothing of it touches guest memory. The session can be saved and goes on with
// Resume. It may be called again.
func (s *Slot) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = true
	if c := s.card.Load(); c != nil {
		s.halt(c)
	}
}

// Busy tells whether the device has requests in flight, which Pause would wait for.
func (s *Slot) Busy() bool {
	c := s.card.Load()
	if c == nil {
		return false
	}
	dev, ok := c.dev.(virtio.Busy)
	return ok && dev.Busy()
}

// Resume goes on after Pause or Load. Every queue is looked at and a pending interrupt is raised again, so neither a
// notification nor an edge that was lost meanwhile matters. On error the device reads as DEVICE_NEEDS_RESET.
func (s *Slot) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused {
		return nil
	}
	s.paused = false
	c := s.card.Load()
	if c == nil {
		return nil
	}
	var err error
	if s.signals.has(statusDriverOK) && !s.signals.has(statusNeedsReset|statusFailed) {
		if err = s.start(c, true); err != nil {
			s.signals.fail(s.signals.current(), err)
		}
	}
	if s.signals.interrupt.Load() != 0 {
		s.signals.raise()
	}
	return err
}
