package vmm

import (
	"errors"
	"fmt"

	"clone/internal/kvm"
)

// Save returns the state of the paused machine: processors, then devices, then interrupt controllers, so that an
// interrupt a device raised while it drained is in the controllers' state.
func (m *Machine) Save() (*State, error) {
	m.life.mu.Lock()
	defer m.life.mu.Unlock()
	return m.save()
}

func (m *Machine) save() (*State, error) {
	if !m.life.paused || !m.resumed {
		return nil, errors.New("only a machine that ran and is paused has a state to save")
	}
	s := &State{}
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	indexes, err := sys.MSRIndexes()
	if err != nil {
		return nil, err
	}
	for _, v := range m.vcpus {
		vs, err := v.save(indexes, m.guestCPUID[v.id])
		if err != nil {
			return nil, fmt.Errorf("save vCPU %d: %w", v.id, err)
		}
		s.vcpus = append(s.vcpus, vs)
	}
	if s.board.Clocks, err = m.saveClocks(); err != nil {
		return nil, err
	}
	for i, slot := range m.slots {
		st, err := slot.Save()
		if err != nil {
			return nil, fmt.Errorf("save virtio slot %d: %w", i, err)
		}
		s.board.Slots = append(s.board.Slots, st)
	}
	s.board.Legacy = m.legacy.save()
	for _, chip := range []uint32{kvm.ChipPICMaster, kvm.ChipPICSlave, kvm.ChipIOAPIC} {
		b, err := m.vm.IRQChip(chip)
		if err != nil {
			return nil, err
		}
		s.irqchips = append(s.irqchips, b)
	}
	s.pit, err = m.vm.PIT2()
	return s, err
}
