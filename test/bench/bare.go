package main

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"clone/internal/config"
	"clone/internal/kvm"
	"clone/internal/x86"
)

// bareOnce is what no VMM can leave out: open KVM, make a VM with the memory image mapped copy-on-write, an interrupt
// controller and one vCPU, and run to the second exit. It restores no state and has no devices; with saved it also makes the
// kernel's calls, and nothing else, that a machine with state and devices cannot do without.
func bareOnce(memory string, saved *kernelState) (took time.Duration, err error) {
	began := time.Now()
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		return 0, err
	}
	defer sys.Close()
	vm, err := sys.CreateVM()
	if err != nil {
		return 0, err
	}
	defer vm.Close()
	f, err := os.Open(memory)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	ram, err := unix.Mmap(int(f.Fd()), 0, config.MinMemoryMiB<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(ram)
	ram[tinyFlag] = 1
	if err := vm.SetMemory(0, 0, ram); err != nil {
		return 0, err
	}
	if err := vm.CreateIRQChip(); err != nil {
		return 0, err
	}
	if saved != nil {
		events, err := saved.board(vm)
		defer closeAll(events)
		if err != nil {
			return 0, err
		}
	}
	cpu, err := vm.CreateVCPU(0)
	if err != nil {
		return 0, err
	}
	defer cpu.Close()
	if saved != nil {
		err = saved.restore(vm, cpu)
	} else {
		err = atEntry(cpu)
	}
	if err != nil {
		return 0, err
	}
	for exits := 0; exits < 2; {
		reason, err := cpu.Run()
		if err != nil {
			return 0, err
		}
		switch reason {
		case kvm.ExitIO:
			exits++
		case kvm.ExitIntr:
		default:
			return 0, errors.New("the bare guest did something else than port output")
		}
	}
	return time.Since(began), nil
}

// atEntry puts a new vCPU before the tiny guest's first instruction.
func atEntry(cpu *kvm.VCPU) error {
	s, err := cpu.SRegs()
	if err != nil {
		return err
	}
	r := x86.ProtectedMode(tinyEntry, 0)
	flat := kvm.Segment{Limit: r.Data.Limit, Selector: r.Data.Selector, Type: r.Data.Type, Present: 1, DB: 1, S: 1, G: 1}
	code := flat
	code.Selector, code.Type = r.CS.Selector, r.CS.Type
	s.CS, s.DS, s.ES, s.SS, s.CR0 = code, flat, flat, flat, r.CR0
	if err := cpu.SetSRegs(s); err != nil {
		return err
	}
	return cpu.SetRegs(kvm.Regs{RIP: r.RIP, RFLAGS: r.RFLAGS})
}
