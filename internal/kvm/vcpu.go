package kvm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// VCPU is one virtual processor. All methods but Kick belong to the thread that runs it.
type VCPU struct {
	fd  int
	run []byte // struct kvm_run and the PIO data page, shared with the kernel
}

// CreateVCPU makes the processor with the given APIC id (§4.7).
func (vm *VM) CreateVCPU(id int) (*VCPU, error) {
	fd, err := ioctl(vm.fd, io_(0x41), uintptr(id))
	if err != nil {
		return nil, fmt.Errorf("KVM_CREATE_VCPU %d: %w", id, err)
	}
	unix.CloseOnExec(fd)
	run, err := unix.Mmap(fd, 0, vm.mmapSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("map run area of vCPU %d: %w", id, err)
	}
	// A child of this process must not keep the VM alive. A kernel that cannot leave it out is no reason to fail.
	_ = unix.Madvise(run, unix.MADV_DONTFORK)
	return &VCPU{fd: fd, run: run}, nil
}

// Close releases the processor; its thread must have left Run for good.
func (v *VCPU) Close() error {
	unix.Munmap(v.run)
	return unix.Close(v.fd)
}

// SetCPUID fixes what CPUID tells the guest (§4.21).
func (v *VCPU) SetCPUID(entries []CPUIDEntry) error {
	if len(entries) > maxCPUIDEntries {
		return fmt.Errorf("%d CPUID entries, at most %d", len(entries), maxCPUIDEntries)
	}
	c := &cpuid2{n: uint32(len(entries))}
	copy(c.entries[:], entries)
	_, err := ioctlPtr(v.fd, iow(0x90, cpuidHeader), c)
	return wrap("KVM_SET_CPUID2", err)
}

// Regs is struct kvm_regs (§4.11).
type Regs struct {
	RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP, RFLAGS                            uint64
}

// Regs reads the general registers.
func (v *VCPU) Regs() (r Regs, err error) {
	_, err = ioctlPtr(v.fd, ior(0x81, sizeOf[Regs]()), &r)
	return r, wrap("KVM_GET_REGS", err)
}

// SetRegs writes the general registers.
func (v *VCPU) SetRegs(r Regs) error {
	_, err := ioctlPtr(v.fd, iow(0x82, sizeOf[Regs]()), &r)
	return wrap("KVM_SET_REGS", err)
}

// Segment is struct kvm_segment.
type Segment struct {
	Base                                    uint64
	Limit                                   uint32
	Selector                                uint16
	Type, Present, DPL, DB, S, L, G, AVL, U uint8
	_                                       uint8
}

// DTable is struct kvm_dtable: a descriptor table register.
type DTable struct {
	Base  uint64
	Limit uint16
	_     [3]uint16
}

// SRegs is struct kvm_sregs2 (§4.132): segments, control registers, and the PDPTRs of a PAE guest.
type SRegs struct {
	CS, DS, ES, FS, GS, SS, TR, LDT Segment
	GDT, IDT                        DTable
	CR0, CR2, CR3, CR4, CR8         uint64
	EFER, APICBase                  uint64
	Flags                           uint64
	PDPTRs                          [4]uint64
}

// SRegs reads the special registers.
func (v *VCPU) SRegs() (s SRegs, err error) {
	_, err = ioctlPtr(v.fd, ior(0xcc, sizeOf[SRegs]()), &s)
	return s, wrap("KVM_GET_SREGS2", err)
}

// SetSRegs writes the special registers.
func (v *VCPU) SetSRegs(s SRegs) error {
	_, err := ioctlPtr(v.fd, iow(0xcd, sizeOf[SRegs]()), &s)
	return wrap("KVM_SET_SREGS2", err)
}

// Processor states of [VCPU.MPState] (§4.38).
const (
	MPRunnable      = 0
	MPUninitialized = 1
	MPInitReceived  = 2
	MPHalted        = 3
	MPSIPIReceived  = 4
)

// MPState tells whether the processor runs, sleeps or waits to be started.
func (v *VCPU) MPState() (uint32, error) {
	var s uint32
	_, err := ioctlPtr(v.fd, ior(0x98, 4), &s)
	return s, wrap("KVM_GET_MP_STATE", err)
}

// SetMPState see MPState.
func (v *VCPU) SetMPState(s uint32) error {
	_, err := ioctlPtr(v.fd, iow(0x99, 4), &s)
	return wrap("KVM_SET_MP_STATE", err)
}

// TSCKHz is the guest's time-stamp counter frequency in kHz (§4.56).
func (v *VCPU) TSCKHz() (int, error) {
	n, err := ioctl(v.fd, io_(0xa3), 0)
	return n, wrap("KVM_GET_TSC_KHZ", err)
}

// SetTSCKHz changes it; the processor must be able to scale, or the value be its own (§4.55).
func (v *VCPU) SetTSCKHz(khz int) error {
	_, err := ioctl(v.fd, io_(0xa2), uintptr(khz))
	return wrap("KVM_SET_TSC_KHZ", err)
}

// KVMClockCtrl tells the guest that it was paused, so that its soft-lockup watchdog forgives the gap (§4.68).
// A guest that does not use kvmclock gives an error that may be ignored.
func (v *VCPU) KVMClockCtrl() error {
	_, err := ioctl(v.fd, io_(0xad), 0)
	return wrap("KVM_KVMCLOCK_CTRL", err)
}

type deviceAttr struct {
	flags, group uint32
	attr, addr   uint64
}

// TSCOffset returns guest TSC − host TSC, in cycles (Documentation/virt/kvm/devices/vcpu.rst §4).
func (v *VCPU) TSCOffset() (uint64, error) {
	var offset uint64
	err := attribute(v.fd, iow(0xe2, sizeOf[deviceAttr]()), &offset)
	return offset, wrap("read KVM_VCPU_TSC_OFFSET", err)
}

// SetTSCOffset see TSCOffset.
func (v *VCPU) SetTSCOffset(offset uint64) error {
	return wrap("set KVM_VCPU_TSC_OFFSET", attribute(v.fd, iow(0xe1, sizeOf[deviceAttr]()), &offset))
}

type preFaultMemory struct {
	gpa, size, flags uint64
	_                [5]uint64
}

// PreFault maps guest memory as if the guest had touched it (§4.143), so that it does not exit for each page. It needs
// CapPreFaultMemory.
func (v *VCPU) PreFault(gpa, size uint64) error {
	r := preFaultMemory{gpa: gpa, size: size}
	for r.size > 0 { // the kernel moves gpa and size on when a signal interrupts it
		if _, err := ioctlPtr(v.fd, iowr(0xd5, sizeOf[preFaultMemory]()), &r); err != nil && err != unix.EAGAIN {
			return wrap("KVM_PRE_FAULT_MEMORY", err)
		}
	}
	return nil
}
