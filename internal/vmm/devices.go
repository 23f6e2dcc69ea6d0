package vmm

import (
	"crypto/rand"
	"fmt"

	"clone/internal/eventfd"
	"clone/internal/virtio"
	"clone/internal/virtio/blk"
	"clone/internal/virtio/mmio"
	"clone/internal/virtio/rng"
	"clone/internal/virtio/vsock"
	"clone/internal/x86"
)

// addSlots puts every virtio-mmio slot on the bus, empty: the DSDT declares them all.
func (m *Machine) addSlots() error {
	for i := range m.slots {
		gpa, _ := x86.SlotAddr(i)
		gsi, _ := x86.SlotGSI(i)
		// The event is made when a device is plugged; an empty slot interrupts nobody.
		line := &slotLine{gsi: gsi}
		m.slots[i] = mmio.New(m.mem, line.raise)
		if err := m.mmio.Add(gpa, x86.MMIOSlotSize, m.slots[i]); err != nil {
			return err
		}
		m.lines[i] = line
	}
	return nil
}

// slotLine is a slot's interrupt: an irqfd once there is a device.
type slotLine struct {
	gsi   uint32
	event *eventfd.Event
}

func (l *slotLine) raise() {
	if l.event != nil {
		l.event.Signal()
	}
}

// addDevices is the list of a machine's devices, explicit because addresses and interrupts must be where a snapshot
// expects them.
func (m *Machine) addDevices() error {
	m.vsock = vsock.New(vsock.Config{CID: uint64(m.identity.CID), DialHost: m.host.DialHost})
	if err := m.plug(m.cfg.Slots.Vsock, m.vsock); err != nil {
		return err
	}
	if err := m.plug(m.cfg.Slots.RNG, rng.New(rand.Reader)); err != nil {
		return err
	}
	for i, d := range m.cfg.Disks {
		dev := blk.New(blk.Config{Image: m.host.Disks[i], Serial: fmt.Sprintf("clone-disk%d", i)})
		if err := m.plug(d.Slot, dev); err != nil {
			return err
		}
	}
	return nil
}

// plug fills slot i; its interrupt is raised through an irqfd.
func (m *Machine) plug(i int, dev virtio.Device) error {
	s, line := m.slots[i], m.lines[i]
	event, err := eventfd.New()
	if err != nil {
		return err
	}
	m.events = append(m.events, event)
	line.event = event
	if err := m.vm.IRQFD(event, line.gsi); err != nil {
		return err
	}
	if err := s.Plug(dev); err != nil {
		return err
	}
	return nil
}

// shortenKicks makes queue notifications reach their events without an exit. Without it they come as MMIO writes and
// signal the same events, so this can be done while the guest runs: each registration waits for a grace period in the
// kernel, which is no time to keep a fork waiting. One that fails leaves that queue the longer way.
func (m *Machine) shortenKicks() {
	for i, s := range m.slots {
		gpa, _ := x86.SlotAddr(i)
		for q, kick := range s.Kicks() {
			_ = m.vm.IOEventFD(kick, gpa+mmio.QueueNotifyOffset, uint32(q))
		}
	}
}
