package vmm

import (
	"errors"
	"fmt"

	"clone/internal/kvm"
)

// Model-specific registers that are not simply read and written back.
const (
	msrTSC         = 0x10       // carried as an offset: see clock.go
	msrTSCAdjust   = 0x3b       // writing it moves the TSC
	msrAPICBase    = 0x1b       // part of the special registers
	msrTSCDeadline = 0x6e0      // must follow the LAPIC's timer mode and the TSC
	msrKVMWallOld  = 0x11       // kvmclock wall clock: a write makes KVM fill the guest page anew
	msrKVMWallNew  = 0x4b564d00 // likewise; the guest reads it once, at boot
)

// vcpuState is one processor's state. Opaque parts are the kernel's own structures.
type vcpuState struct {
	MPState   uint32
	CPUID     []kvm.CPUIDEntry
	MSRs      []kvm.MSR
	Regs      []byte
	SRegs     []byte
	XSave     []byte
	XCRs      []byte
	LAPIC     []byte
	Events    []byte
	DebugRegs []byte
}

// blobs pairs every opaque part with where it is kept, in the order of restoring: the special registers hold the
// APIC base and mode that the LAPIC needs; XCR0 says what XSAVE may contain; events come last, because the others
// may queue or clear exceptions.
func (s *vcpuState) blobs(x extended) []part {
	list := []part{{kvm.SRegsBlob, &s.SRegs}, {kvm.RegsBlob, &s.Regs}}
	if x.xcrs {
		list = append(list, part{kvm.XCRs, &s.XCRs})
	}
	return append(list, part{x.xsave, &s.XSave}, part{kvm.DebugRegs, &s.DebugRegs}, part{kvm.LAPIC, &s.LAPIC},
		part{kvm.Events, &s.Events})
}

// part is an opaque part of the state and where it is kept.
type part struct {
	kvm.Blob
	p *[]byte
}

// extended says how this host keeps the extended processor state.
type extended struct {
	xsave kvm.Blob
	xcrs  bool // the processor has XSAVE, and with it XCR0
}

func extendedOf(sys *kvm.System) extended {
	return extended{xsave: kvm.XSave(sys.CheckExtension(kvm.CapXSave2)), xcrs: sys.CheckExtension(kvm.CapXCRs) != 0}
}

// save reads the processor's state. The vCPU is parked and settled.
func (v *vcpu) save(msrIndexes []uint32, cpuid []kvm.CPUIDEntry) (*vcpuState, error) {
	s := &vcpuState{CPUID: cpuid}
	var err error
	// Reading the run state first makes KVM act on a pending INIT or SIPI, which changes the registers.
	if s.MPState, err = v.cpu.MPState(); err != nil {
		return nil, err
	}
	for _, b := range s.blobs(v.machine.extended) {
		if *b.p, err = v.cpu.Get(b.Blob); err != nil {
			return nil, err
		}
	}
	all, err := v.cpu.MSRs(msrIndexes)
	if err != nil {
		return nil, err
	}
	for _, msr := range all {
		switch msr.Index {
		case msrTSC, msrTSCAdjust, msrAPICBase, msrKVMWallOld, msrKVMWallNew:
		default:
			s.MSRs = append(s.MSRs, msr)
		}
	}
	return s, nil
}

// restore writes the state into a new processor that has not run, and whose CPUID is set.
func (v *vcpu) restore(s *vcpuState) error {
	if err := v.cpu.SetMPState(s.MPState); err != nil {
		return err
	}
	var deadline []kvm.MSR
	msrs := make([]kvm.MSR, 0, len(s.MSRs))
	for _, msr := range s.MSRs {
		if msr.Index == msrTSCDeadline {
			deadline = []kvm.MSR{msr}
		} else {
			msrs = append(msrs, msr)
		}
	}
	for _, b := range s.blobs(v.machine.extended) {
		if b.Name == kvm.LAPIC.Name {
			if err := v.setMSRs(msrs); err != nil {
				return err
			}
		}
		if err := v.cpu.Set(b.Blob, *b.p); err != nil {
			return err
		}
	}
	return v.setMSRs(deadline)
}

// setMSRs writes registers; one that KVM lists but does not let us write is no loss if it has the value already.
func (v *vcpu) setMSRs(list []kvm.MSR) error {
	for {
		err := v.cpu.SetMSRs(list)
		var refused *kvm.MSRError
		if !errors.As(err, &refused) {
			return err
		}
		now, readErr := v.cpu.MSRs([]uint32{refused.MSR.Index})
		if readErr != nil || len(now) != 1 || now[0].Value != refused.MSR.Value {
			return fmt.Errorf("restore vCPU %d: %w", v.id, err)
		}
		for i, msr := range list {
			if msr == refused.MSR {
				list = list[i+1:]
				break
			}
		}
	}
}
