package mmio

import (
	"errors"
	"fmt"

	"clone/internal/virtio"
)

// State is a paused slot's register file and device, for a snapshot.
type State struct {
	Type              uint32              `json:"type"` // virtio device ID, 0 for an empty slot
	Status            uint32              `json:"status"`
	DriverFeatures    uint64              `json:"driver_features"`
	DeviceFeaturesSel uint32              `json:"device_features_sel"`
	DriverFeaturesSel uint32              `json:"driver_features_sel"`
	QueueSel          uint32              `json:"queue_sel"`
	InterruptStatus   uint32              `json:"interrupt_status"`
	ConfigGeneration  uint32              `json:"config_generation"`
	Queues            []virtio.QueueState `json:"queues,omitempty"`
	Device            []byte              `json:"device,omitempty"` // what Device.Save returned
}

// Save returns the state of a paused slot.
func (s *Slot) Save() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused {
		return State{}, errors.New("virtio-mmio slot is saved only while paused")
	}
	c := s.card.Load()
	if c == nil {
		return State{}, nil
	}
	device, err := c.dev.Save()
	if err != nil {
		return State{}, fmt.Errorf("save virtio device type %d: %w", c.spec.Type, err)
	}
	return State{
		Type:              c.spec.Type,
		Status:            s.signals.status.Load(),
		DriverFeatures:    s.regs.driverFeatures,
		DeviceFeaturesSel: s.regs.deviceFeaturesSel,
		DriverFeaturesSel: s.regs.driverFeaturesSel,
		QueueSel:          s.regs.queueSel,
		InterruptStatus:   s.signals.interrupt.Load(),
		ConfigGeneration:  s.signals.generation.Load(),
		Queues:            append([]virtio.QueueState{}, s.regs.queues...),
		Device:            device,
	}, nil
}

// Load puts what Save returned, checked in full, into a slot no driver has used since its device was plugged. The slot
// is paused afterwards, and unchanged after an error. The device must offer every feature that was negotiated. The
// state of an empty slot fits any device: a fork fills slots that its template left empty.
func (s *Slot) Load(st State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused || s.signals.status.Load() != 0 {
		return errors.New("virtio-mmio state is loaded only into a fresh slot")
	}
	if st.Type == 0 {
		s.paused = true
		return nil
	}
	c := s.card.Load()
	if c == nil {
		return fmt.Errorf("virtio-mmio state of a device of type %d, the slot is empty", st.Type)
	}
	if err := st.check(c); err != nil {
		return fmt.Errorf("virtio-mmio state: %w", err)
	}
	fresh := s.regs
	s.regs = registers{
		deviceFeaturesSel: st.DeviceFeaturesSel,
		driverFeaturesSel: st.DriverFeaturesSel,
		driverFeatures:    st.DriverFeatures,
		queueSel:          st.QueueSel,
		queues:            append([]virtio.QueueState{}, st.Queues...),
	}
	if err := s.loadDevice(c, st); err != nil {
		s.regs = fresh
		return err
	}
	s.signals.status.Store(st.Status)
	s.signals.interrupt.Store(st.InterruptStatus)
	s.signals.generation.Store(st.ConfigGeneration)
	s.paused = true
	return nil
}

// loadDevice tries the rings of a session that is to go on, then gives the device its part.
func (s *Slot) loadDevice(c *card, st State) error {
	if st.Status&statusDriverOK != 0 && st.Status&(statusNeedsReset|statusFailed) == 0 {
		for i := range s.regs.queues {
			if _, err := s.newQueue(c, i); err != nil {
				return fmt.Errorf("virtio-mmio state: %w", err)
			}
		}
	}
	if err := c.dev.Load(st.Device); err != nil {
		return fmt.Errorf("load virtio device type %d: %w", c.spec.Type, err)
	}
	return nil
}

// check refuses what no slot with this device could have saved.
func (st *State) check(c *card) error {
	switch {
	case st.Type != c.spec.Type:
		return fmt.Errorf("device type %d, the slot holds type %d", st.Type, c.spec.Type)
	case st.Status&^(statusByDriver|statusNeedsReset) != 0:
		return fmt.Errorf("unknown bits in device status %#x", st.Status)
	case st.Status&statusDriverOK != 0 && st.Status&statusFeaturesOK == 0:
		return fmt.Errorf("device status %#x has DRIVER_OK without FEATURES_OK", st.Status)
	case st.Status&statusFeaturesOK != 0 && !featuresAgree(st.DriverFeatures, c.features):
		return fmt.Errorf("negotiated features %#x, this device offers %#x", st.DriverFeatures, c.features)
	case st.InterruptStatus&^(interruptUsedBuffer|interruptConfigChange) != 0:
		return fmt.Errorf("unknown bits in interrupt status %#x", st.InterruptStatus)
	case len(st.Queues) != len(c.spec.QueueSizes):
		return fmt.Errorf("%d queues, this device has %d", len(st.Queues), len(c.spec.QueueSizes))
	}
	for i, q := range st.Queues {
		if q.Size != 0 && !validSize(uint32(q.Size), uint32(c.spec.QueueSizes[i])) {
			return fmt.Errorf("queue %d of size %d, this device allows %d", i, q.Size, c.spec.QueueSizes[i])
		}
	}
	return nil
}
