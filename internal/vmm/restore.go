package vmm

import (
	"errors"
	"fmt"

	"clone/internal/config"
	"clone/internal/guestmem"
	"clone/internal/x86"
)

// Origin says what the host of a saved machine was like.
type Origin struct {
	SameHost bool // taken on this very boot of this host: its processor needs no comparison
}

// Restore makes a paused machine out of a saved one: a new VM over mem, which holds the saved guest's memory, with the
// saved state and an identity of its own. cfg may have disks in slots that were empty when the state was saved.
// The memory belongs to the machine, also after an error.
func Restore(cfg config.VM, id config.Identity, mem *guestmem.Memory, st *State, origin Origin, host Host) (*Machine, error) {
	if err := st.check(cfg, origin); err != nil {
		return nil, errors.Join(fmt.Errorf("restore: %w", err), mem.Close())
	}
	// What a processor is comes before what it does, and takes KVM as long as all the rest.
	prime := func(v *vcpu) error { return v.cpu.SetCPUID(st.vcpus[v.id].CPUID) }
	m, err := build(cfg, id, mem, host, prime)
	if err != nil {
		return nil, err
	}
	if err := m.load(st); err != nil {
		m.Close()
		return nil, fmt.Errorf("restore: %w", err)
	}
	return m, nil
}

// check tells whether the state is of such a machine, and whether this host's processor has what its guest uses.
func (st *State) check(cfg config.VM, origin Origin) error {
	if len(st.vcpus) != cfg.VCPUs || len(st.board.Slots) != x86.MMIOSlots {
		return fmt.Errorf("%w: it has %d vCPUs and %d slots", errDamagedState, len(st.vcpus), len(st.board.Slots))
	}
	if origin.SameHost {
		return nil
	}
	host, err := hostCPUID()
	if err != nil {
		return err
	}
	return checkCPUID(st.vcpus[0].CPUID, host)
}

func (m *Machine) load(st *State) error {
	for _, chip := range st.irqchips {
		if err := m.vm.SetIRQChip(chip); err != nil {
			return err
		}
	}
	if err := m.vm.SetPIT2(st.pit); err != nil {
		return err
	}
	// The clocks come before the MSRs: kvmclock's page and the deadline timer are in their terms.
	if err := m.restoreClocks(st.board.Clocks); err != nil {
		return err
	}
	for i, v := range m.vcpus {
		if err := v.restore(st.vcpus[i]); err != nil {
			return err
		}
		m.guestCPUID = append(m.guestCPUID, st.vcpus[i].CPUID)
	}
	if err := m.legacy.load(st.board.Legacy); err != nil {
		return err
	}
	for i, s := range m.slots {
		if st.board.Slots[i].Type == 0 {
			continue // empty when saved: a device in it now is new to the guest
		}
		if err := s.Load(st.board.Slots[i]); err != nil {
			return fmt.Errorf("virtio slot %d: %w", i, err)
		}
	}
	m.vsock.SetIdentity(uint64(m.identity.CID))
	if err := m.writeIdentity(); err != nil {
		return err
	}
	if err := m.newGeneration(); err != nil {
		return err
	}
	// The guest looks before its first instruction: the interrupt is pending when the vCPUs enter.
	return m.pulse(x86.GSIGED)
}
