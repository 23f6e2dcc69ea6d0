package vmm

import (
	"encoding/binary"
	"fmt"

	"clone/internal/config"
	"clone/internal/guestmem"
	"clone/internal/kvm"
	"clone/internal/x86"
)

// Loader puts what is to be booted into guest memory, which holds nothing yet but the identity page and the generation
// identifier, and returns how the first processor enters it.
type Loader func(mem *guestmem.Memory) (x86.BootRegs, error)

// Boot makes a paused machine that will enter what load brings.
func Boot(cfg config.VM, id config.Identity, load Loader, host Host) (*Machine, error) {
	mem, err := guestmem.NewAnonymous(cfg.MemoryMiB << 20)
	if err != nil {
		return nil, err
	}
	m, err := build(cfg, id, mem, host, func(*vcpu) error { return nil })
	if err != nil {
		return nil, err
	}
	if err := m.reset(load); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// reset brings the processors to where firmware would leave them: the first at the kernel's entry, the others waiting
// for its startup signal.
func (m *Machine) reset(load Loader) error {
	if err := m.writeIdentity(); err != nil {
		return err
	}
	if err := m.newGeneration(); err != nil {
		return err
	}
	regs, err := load(m.mem)
	if err != nil {
		return err
	}
	deadline, err := m.tscDeadline()
	if err != nil {
		return err
	}
	for _, v := range m.vcpus {
		cpuid, err := m.bootCPUID(v.id, deadline)
		if err != nil {
			return err
		}
		m.guestCPUID = append(m.guestCPUID, cpuid)
		if err := v.cpu.SetCPUID(cpuid); err != nil {
			return err
		}
		if err := v.resetMSRs(); err != nil {
			return err
		}
		if err := v.resetLAPIC(); err != nil {
			return err
		}
	}
	if err := m.mem.WriteAt(x86.BootGDT(regs), x86.GDTAddr); err != nil {
		return err
	}
	if err := m.mem.WriteAt(x86.BootPageTables(), x86.PageTableAddr); err != nil {
		return err
	}
	return m.vcpus[0].enter(regs)
}

func (m *Machine) tscDeadline() (bool, error) {
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		return false, err
	}
	defer sys.Close()
	return sys.CheckExtension(kvm.CapTSCDeadlineTimer) != 0, nil
}

func (v *vcpu) resetMSRs() error {
	var list []kvm.MSR
	for _, msr := range x86.BootMSRs() {
		list = append(list, kvm.MSR{Index: msr.Index, Value: msr.Value})
	}
	return v.cpu.SetMSRs(list)
}

// Local APIC registers (Intel SDM volume 3 §11.4.1) and what firmware sets them to: the PIC's interrupts and the NMI
// arrive at the pins LINT0 and LINT1, until the guest takes the APIC over.
const (
	apicLVTLINT0  = 0x350
	apicLVTLINT1  = 0x360
	apicModeNMI   = 4 << 8
	apicModeExtIN = 7 << 8
)

func (v *vcpu) resetLAPIC() error {
	b, err := v.cpu.Get(kvm.LAPIC)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(b[apicLVTLINT0:], apicModeExtIN)
	binary.LittleEndian.PutUint32(b[apicLVTLINT1:], apicModeNMI)
	return v.cpu.Set(kvm.LAPIC, b)
}

// enter sets the registers of the boot protocol.
func (v *vcpu) enter(r x86.BootRegs) error {
	s, err := v.cpu.SRegs()
	if err != nil {
		return fmt.Errorf("this kernel's KVM is too old (Linux 5.14 is the first that fits): %w", err)
	}
	data := segment(r.Data)
	s.CS, s.DS, s.ES, s.FS, s.GS, s.SS = segment(r.CS), data, data, data, data, data
	s.TR, s.LDT = segment(r.TR), segment(r.LDT)
	s.GDT = kvm.DTable{Base: r.GDT.Base, Limit: r.GDT.Limit}
	s.IDT = kvm.DTable{Base: r.IDT.Base, Limit: r.IDT.Limit}
	s.CR0, s.CR3, s.CR4, s.EFER = r.CR0, r.CR3, r.CR4, r.EFER
	if err := v.cpu.SetSRegs(s); err != nil {
		return err
	}
	return v.cpu.SetRegs(kvm.Regs{RIP: r.RIP, RSP: r.RSP, RSI: r.RSI, RBX: r.RBX, RFLAGS: r.RFLAGS})
}

func segment(s x86.Segment) kvm.Segment {
	return kvm.Segment{Base: s.Base, Limit: s.Limit, Selector: s.Selector, Type: s.Type, Present: s.Present, DPL: s.DPL,
		DB: s.DB, S: s.S, L: s.L, G: s.G, AVL: s.AVL, U: s.Unusable}
}
