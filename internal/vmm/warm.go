package vmm

import (
	"errors"

	"clone/internal/guestmem"
	"clone/internal/kvm"

	"golang.org/x/sys/unix"
)

// Warm maps memory that the guest will touch soon, before it runs: one call for a run of pages costs a fraction of an exit
// and a host page fault for each. It is advice: pages the guest does not touch after all cost memory, nothing else. The list
// is in ascending order.
func (m *Machine) Warm(list []guestmem.Range) error {
	if len(list) == 0 {
		return nil
	}
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		return err
	}
	preFault := sys.CheckExtension(kvm.CapPreFaultMemory) != 0
	sys.Close()
	for i := 0; i < len(list); {
		// What KVM maps it also brings in for reading; copies to write to must be there before.
		end := i
		for ; end < len(list) && (end == i || list[end].Page == list[end-1].Page+list[end-1].Pages); end++ {
			if preFault && !list[end].Written {
				continue
			}
			if err := m.mem.Populate(list[end]); err != nil {
				return err
			}
		}
		if preFault {
			if preFault, err = m.preFault(list[i], list[end-1]); err != nil {
				return err
			}
			if !preFault {
				continue // once more, without
			}
		}
		i = end
	}
	return nil
}

// preFault has KVM map the pages from first to last; ok is false where this VM's kind of paging cannot.
func (m *Machine) preFault(first, last guestmem.Range) (ok bool, err error) {
	run := guestmem.Range{Page: first.Page, Pages: last.Page + last.Pages - first.Page}
	for run.Pages > 0 {
		gpa, n, err := m.mem.Place(run)
		if err == nil {
			err = m.vcpus[0].cpu.PreFault(gpa, n*guestmem.PageSize)
		}
		if errors.Is(err, unix.EOPNOTSUPP) {
			return false, nil
		}
		if err != nil {
			return true, err
		}
		run.Page, run.Pages = run.Page+n, run.Pages-n
	}
	return true, nil
}
