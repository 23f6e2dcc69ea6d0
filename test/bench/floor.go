package main

import (
	"clone/internal/eventfd"
	"clone/internal/kvm"
)

// The devices of a tiny machine have so many queues and interrupts.
const (
	tinyQueues     = 4
	tinyInterrupts = 2
	firstGSI       = 5
)

// kernelState is all state of a machine with one vCPU that the kernel keeps: what a restore must write back, whoever does it.
type kernelState struct {
	chips   [][]byte
	pit     []byte
	clock   uint64
	cpuid   []kvm.CPUIDEntry
	mpState uint32
	blobs   []kvm.Blob
	parts   [][]byte
	msrs    []kvm.MSR
}

// saveKernelState takes it from a machine that stands before the tiny guest's first instruction.
func saveKernelState() (s *kernelState, err error) {
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	vm, err := sys.CreateVM()
	if err != nil {
		return nil, err
	}
	defer vm.Close()
	if err := vm.CreateIRQChip(); err != nil {
		return nil, err
	}
	if err := vm.CreatePIT2(); err != nil {
		return nil, err
	}
	cpu, err := vm.CreateVCPU(0)
	if err != nil {
		return nil, err
	}
	defer cpu.Close()
	s = &kernelState{blobs: []kvm.Blob{kvm.SRegsBlob, kvm.RegsBlob}}
	if s.cpuid, err = sys.SupportedCPUID(); err == nil {
		err = cpu.SetCPUID(s.cpuid)
	}
	if err == nil {
		err = atEntry(cpu)
	}
	if err != nil {
		return nil, err
	}
	if sys.CheckExtension(kvm.CapXCRs) != 0 {
		s.blobs = append(s.blobs, kvm.XCRs)
	}
	s.blobs = append(s.blobs, kvm.XSave(sys.CheckExtension(kvm.CapXSave2)), kvm.DebugRegs, kvm.LAPIC, kvm.Events)
	for _, b := range s.blobs {
		part, err := cpu.Get(b)
		if err != nil {
			return nil, err
		}
		s.parts = append(s.parts, part)
	}
	if s.mpState, err = cpu.MPState(); err != nil {
		return nil, err
	}
	indexes, err := sys.MSRIndexes()
	if err != nil {
		return nil, err
	}
	all, err := cpu.MSRs(indexes)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if cpu.SetMSRs([]kvm.MSR{m}) == nil { // some are listed and cannot be written
			s.msrs = append(s.msrs, m)
		}
	}
	for _, chip := range []uint32{kvm.ChipPICMaster, kvm.ChipPICSlave, kvm.ChipIOAPIC} {
		b, err := vm.IRQChip(chip)
		if err != nil {
			return nil, err
		}
		s.chips = append(s.chips, b)
	}
	clock, err := vm.Clock()
	if err != nil {
		return nil, err
	}
	s.clock = clock.NS
	s.pit, err = vm.PIT2()
	return s, err
}

// board makes what belongs to a machine beside its processor.
func (s *kernelState) board(vm *kvm.VM) (events []*eventfd.Event, err error) {
	if err := vm.CreatePIT2(); err != nil {
		return nil, err
	}
	for i := range tinyQueues + tinyInterrupts {
		e, err := eventfd.New()
		if err != nil {
			return events, err
		}
		events = append(events, e)
		if i < tinyInterrupts {
			if err := vm.IRQFD(e, uint32(firstGSI+i)); err != nil {
				return events, err
			}
		}
	}
	return events, nil
}

// restore writes the state back.
func (s *kernelState) restore(vm *kvm.VM, cpu *kvm.VCPU) error {
	for _, chip := range s.chips {
		if err := vm.SetIRQChip(chip); err != nil {
			return err
		}
	}
	if err := vm.SetPIT2(s.pit); err != nil {
		return err
	}
	if err := vm.SetClock(s.clock); err != nil {
		return err
	}
	if err := cpu.SetCPUID(s.cpuid); err != nil {
		return err
	}
	if err := cpu.SetMPState(s.mpState); err != nil {
		return err
	}
	for i, b := range s.blobs {
		if err := cpu.Set(b, s.parts[i]); err != nil {
			return err
		}
	}
	return cpu.SetMSRs(s.msrs)
}

func closeAll(events []*eventfd.Event) {
	for _, e := range events {
		e.Close()
	}
}
