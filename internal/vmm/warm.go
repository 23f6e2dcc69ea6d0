package vmm

import (
	"errors"

	"clone/internal/guestmem"
	"clone/internal/kvm"

	"golang.org/x/sys/unix"
)

// Warm maps memory that the guest will touch soon, before it runs: one call for a run of pages costs a fraction of an exit
// and a host page fault for each. It is advice: pages the guest does not touch after all cost memory, nothing else.
func (m *Machine) Warm(list []guestmem.Range) error {
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		return err
	}
	preFault := sys.CheckExtension(kvm.CapPreFaultMemory) != 0
	sys.Close()
	for _, r := range list {
		gpa, size, err := m.mem.Populate(r)
		if err != nil {
			return err
		}
		if !preFault {
			continue
		}
		err = m.vcpus[0].cpu.PreFault(gpa, size)
		if errors.Is(err, unix.EOPNOTSUPP) {
			preFault = false // this VM's kind of paging cannot
		} else if err != nil {
			return err
		}
	}
	return nil
}
