package kvm

import (
	"fmt"

	"clone/internal/eventfd"

	"golang.org/x/sys/unix"
)

// VM is one KVM virtual machine.
type VM struct {
	fd       int
	mmapSize int
}

// Close releases the descriptor. The machine is torn down by the kernel once its vCPUs are closed too, which takes
// tens of milliseconds with an interrupt controller.
func (vm *VM) Close() error { return unix.Close(vm.fd) }

type userspaceMemoryRegion struct {
	slot, flags                uint32
	guestPhysAddr, size, uaddr uint64
}

// SetMemory maps host memory (which must be mmapped, not Go heap) as guest RAM at gpa (§4.35). To be called before
// CreateIRQChip: afterwards each change of slots costs an SRCU grace period.
func (vm *VM) SetMemory(slot uint32, gpa uint64, host []byte) error {
	r := userspaceMemoryRegion{slot: slot, guestPhysAddr: gpa, size: uint64(len(host)), uaddr: addressOf(host)}
	_, err := ioctlPtr(vm.fd, iow(0x46, sizeOf[userspaceMemoryRegion]()), &r)
	return wrap("KVM_SET_USER_MEMORY_REGION", err)
}

// SetTSSAddr and SetIdentityMapAddr give an Intel host the pages it needs for real mode (§4.36, §4.41).
func (vm *VM) SetTSSAddr(gpa uint64) error {
	_, err := ioctl(vm.fd, io_(0x47), uintptr(gpa))
	return wrap("KVM_SET_TSS_ADDR", err)
}

// SetIdentityMapAddr see SetTSSAddr.
func (vm *VM) SetIdentityMapAddr(gpa uint64) error {
	_, err := ioctlPtr(vm.fd, iow(0x48, 8), &gpa)
	return wrap("KVM_SET_IDENTITY_MAP_ADDR", err)
}

// CreateIRQChip makes the in-kernel PICs, IOAPIC and, with each vCPU, its local APIC (§4.24).
func (vm *VM) CreateIRQChip() error {
	_, err := ioctl(vm.fd, io_(0x60), 0)
	return wrap("KVM_CREATE_IRQCHIP", err)
}

type pitConfig struct {
	flags uint32
	_     [15]uint32
}

// CreatePIT2 makes the in-kernel i8254, with the speaker port as a dummy (§4.71).
func (vm *VM) CreatePIT2() error {
	const speakerDummy = 1
	c := pitConfig{flags: speakerDummy}
	_, err := ioctlPtr(vm.fd, iow(0x77, sizeOf[pitConfig]()), &c)
	return wrap("KVM_CREATE_PIT2", err)
}

type irqLevel struct{ irq, level uint32 }

// IRQLine sets the level of a GSI (§4.25).
func (vm *VM) IRQLine(gsi uint32, high bool) error {
	l := irqLevel{irq: gsi}
	if high {
		l.level = 1
	}
	_, err := ioctlPtr(vm.fd, iow(0x61, sizeOf[irqLevel]()), &l)
	return wrap("KVM_IRQ_LINE", err)
}

type irqfd struct {
	fd, gsi, flags, resampleFD uint32
	_                          [16]byte
}

// IRQFD pulses a GSI, rising edge and fall, whenever the event is signalled (§4.75).
func (vm *VM) IRQFD(e *eventfd.Event, gsi uint32) error {
	r := irqfd{fd: uint32(e.FD()), gsi: gsi}
	_, err := ioctlPtr(vm.fd, iow(0x76, sizeOf[irqfd]()), &r)
	return wrap("KVM_IRQFD", err)
}

type ioeventfd struct {
	datamatch, addr uint64
	len             uint32
	fd              int32
	flags           uint32
	_               [36]byte
}

// IOEventFD signals the event, without an exit, when the guest writes the 32-bit value match at gpa (§4.59).
func (vm *VM) IOEventFD(e *eventfd.Event, gpa uint64, match uint32) error {
	const flagDatamatch = 1
	r := ioeventfd{datamatch: uint64(match), addr: gpa, len: 4, fd: int32(e.FD()), flags: flagDatamatch}
	_, err := ioctlPtr(vm.fd, iow(0x79, sizeOf[ioeventfd]()), &r)
	return wrap("KVM_IOEVENTFD", err)
}

// Interrupt controllers of [VM.IRQChip].
const (
	ChipPICMaster = 0
	ChipPICSlave  = 1
	ChipIOAPIC    = 2
)

// IRQChipSize is struct kvm_irqchip in bytes; its first word is the chip's number.
const IRQChipSize = 520

// IRQChip returns the state of one interrupt controller, a struct kvm_irqchip (§4.26).
func (vm *VM) IRQChip(chip uint32) ([]byte, error) {
	b := make([]byte, IRQChipSize)
	b[0] = byte(chip)
	return b, wrap("KVM_GET_IRQCHIP", ioctlBytes(vm.fd, iowr(0x62, IRQChipSize), b))
}

// SetIRQChip restores what IRQChip returned (§4.27).
func (vm *VM) SetIRQChip(b []byte) error {
	return wrap("KVM_SET_IRQCHIP", setBytes(vm.fd, ior(0x63, IRQChipSize), b, IRQChipSize))
}

// PIT2Size is struct kvm_pit_state2 in bytes.
const PIT2Size = 112

// PIT2 returns the state of the i8254, a struct kvm_pit_state2 (§4.72).
func (vm *VM) PIT2() ([]byte, error) {
	b := make([]byte, PIT2Size)
	return b, wrap("KVM_GET_PIT2", ioctlBytes(vm.fd, ior(0x9f, PIT2Size), b))
}

// SetPIT2 restores what PIT2 returned (§4.73).
func (vm *VM) SetPIT2(b []byte) error {
	return wrap("KVM_SET_PIT2", setBytes(vm.fd, iow(0xa0, PIT2Size), b, PIT2Size))
}

type clockData struct {
	clock             uint64
	flags             uint32
	_                 uint32
	realtime, hostTSC uint64
	_                 [4]uint32
}

// Clock is a reading of the guest's kvmclock.
type Clock struct {
	NS      uint64 // kvmclock in nanoseconds
	HostTSC uint64 // the host's TSC at that very moment, where the kernel tells; else 0
}

// Clock reads the guest's kvmclock (§4.29).
func (vm *VM) Clock() (Clock, error) {
	const flagHostTSC = 8
	var c clockData
	_, err := ioctlPtr(vm.fd, ior(0x7c, sizeOf[clockData]()), &c)
	if c.flags&flagHostTSC == 0 {
		c.hostTSC = 0
	}
	return Clock{NS: c.clock, HostTSC: c.hostTSC}, wrap("KVM_GET_CLOCK", err)
}

// SetClock makes the guest's kvmclock go on from ns nanoseconds (§4.30).
func (vm *VM) SetClock(ns uint64) error {
	c := clockData{clock: ns}
	_, err := ioctlPtr(vm.fd, iow(0x7b, sizeOf[clockData]()), &c)
	return wrap("KVM_SET_CLOCK", err)
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// setBytes passes saved state back; bytes of the wrong length come from a damaged file.
func setBytes(fd int, req uintptr, b []byte, size int) error {
	if len(b) != size {
		return fmt.Errorf("state of %d bytes, %d expected", len(b), size)
	}
	return ioctlBytes(fd, req, b)
}
