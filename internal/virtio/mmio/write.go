package mmio

import (
	"encoding/binary"

	"clone/internal/virtio"
)

// Write is the driver's write of p at offset. What the specification does not allow is ignored.
func (s *Slot) Write(offset uint64, p []byte) {
	c := s.card.Load()
	if c == nil {
		return
	}
	if offset >= regConfig {
		if configAccess(offset, p) {
			c.dev.WriteConfig(uint32(offset-regConfig), p)
		}
		return
	}
	if registerAccess(offset, p) {
		s.writeRegister(c, offset, binary.LittleEndian.Uint32(p))
	}
}

func (s *Slot) writeRegister(c *card, offset uint64, v uint32) {
	switch offset {
	case regQueueNotify:
		if v < uint32(len(c.kicks)) {
			c.kicks[v].Signal()
		}
		return
	case regInterruptACK:
		s.signals.interrupt.And(^v)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch offset {
	case regDeviceFeaturesSel:
		s.regs.deviceFeaturesSel = v
	case regDriverFeaturesSel:
		s.regs.driverFeaturesSel = v
	case regDriverFeatures:
		if !s.signals.has(statusFeaturesOK) {
			s.regs.acceptFeatures(v)
		}
	case regQueueSel:
		s.regs.queueSel = v
	case regStatus:
		s.writeStatus(c, v)
	default:
		// Rings are programmed before DRIVER_OK (virtio 1.2 §3.1.1); RING_RESET, which could change them later, is not offered.
		if q := s.regs.queue(); q != nil && !s.signals.has(statusDriverOK) {
			writeQueue(q, c.spec.QueueSizes[s.regs.queueSel], offset, v)
		}
	}
}

// queue is the one that QueueSel names, nil when there is none.
func (r *registers) queue() *virtio.QueueState {
	if r.queueSel >= uint32(len(r.queues)) {
		return nil
	}
	return &r.queues[r.queueSel]
}

func (r *registers) acceptFeatures(v uint32) {
	switch r.driverFeaturesSel {
	case 0:
		r.driverFeatures = r.driverFeatures&^0xffff_ffff | uint64(v)
	case 1:
		r.driverFeatures = r.driverFeatures&0xffff_ffff | uint64(v)<<32
	}
}

// writeQueue programs the selected queue. A ready one is fixed but for QueueReady itself (virtio 1.2 §4.2.2.2). A size
// that cannot be is not taken over: the queue keeps size 0, which the start refuses.
func writeQueue(q *virtio.QueueState, sizeMax uint16, offset uint64, v uint32) {
	if offset == regQueueReady {
		q.Ready = v == 1
		return
	}
	if q.Ready {
		return
	}
	switch offset {
	case regQueueNum:
		if validSize(v, uint32(sizeMax)) {
			q.Size = uint16(v)
		}
	case regQueueDescLow:
		setLow(&q.Desc, v)
	case regQueueDescHigh:
		setHigh(&q.Desc, v)
	case regQueueDriverLow:
		setLow(&q.Avail, v)
	case regQueueDriverHigh:
		setHigh(&q.Avail, v)
	case regQueueDeviceLow:
		setLow(&q.Used, v)
	case regQueueDeviceHigh:
		setHigh(&q.Used, v)
	}
}

func setLow(w *uint64, v uint32)  { *w = *w&^0xffff_ffff | uint64(v) }
func setHigh(w *uint64, v uint32) { *w = *w&0xffff_ffff | uint64(v)<<32 }

// writeStatus follows the driver through initialization (virtio 1.2 §2.1, §3.1). A write only adds bits; zero resets.
func (s *Slot) writeStatus(c *card, v uint32) {
	if v == 0 {
		s.reset(c)
		return
	}
	added := v & statusByDriver &^ s.signals.status.Load()
	if added&statusFeaturesOK != 0 && !featuresAgree(s.regs.driverFeatures, c.features) {
		added &^= statusFeaturesOK // the driver reads it back and finds that we do not agree
	}
	starting := added&statusDriverOK != 0
	if starting && (s.signals.status.Load()|added)&statusFeaturesOK == 0 {
		added &^= statusDriverOK
		starting = false
	}
	s.signals.accept(added)
	switch {
	case s.signals.has(statusFailed):
		s.halt(c) // the driver gave up: nothing of its memory is ours any more
	case starting:
		if err := s.start(c, false); err != nil {
			s.signals.fail(s.signals.current(), err)
		}
	}
}

// featuresAgree is our half of the negotiation: nothing that was not offered, and no legacy driver.
func featuresAgree(accepted, offered uint64) bool {
	return accepted&^offered == 0 && accepted&virtio.FeatureVersion1 != 0
}
