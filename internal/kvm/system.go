package kvm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Capabilities (§4.4, linux/kvm.h).
const (
	CapIRQChip          = 0
	CapUserMemory       = 3
	CapSetTSSAddr       = 4
	CapNrMemslots       = 10
	CapMPState          = 14
	CapPIT2             = 33
	CapIRQFD            = 32
	CapIOEventFD        = 36
	CapAdjustClock      = 39
	CapVCPUEvents       = 41
	CapDebugRegs        = 50
	CapXSave            = 55
	CapXCRs             = 56
	CapTSCControl       = 60
	CapTSCDeadlineTimer = 72
	CapMaxVCPUs         = 66
	CapKVMClockCtrl     = 76
	CapVCPUAttributes   = 127
	CapImmediateExit    = 136
	CapSRegs2           = 200
	CapXSave2           = 208
	CapTSCControlVM     = 214
	CapPreFaultMemory   = 236
)

// System is an open /dev/kvm.
type System struct {
	f        *os.File
	fd       int
	mmapSize int // bytes of a vCPU's run area
}

// Open opens the KVM device and checks its API version (§4.1: always 12). The error says how to get the device.
func Open(path string) (*System, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: this host offers no KVM; load kvm_intel or kvm_amd, or see `clone doctor`", err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w: run as root or join the kvm group", err)
	case err != nil:
		return nil, err
	}
	s := &System{f: f, fd: int(f.Fd())}
	version, err := ioctl(s.fd, io_(0x00), 0)
	if err == nil && version != 12 {
		err = fmt.Errorf("KVM API version %d, 12 expected", version)
	}
	if err == nil {
		s.mmapSize, err = ioctl(s.fd, io_(0x04), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Close releases the device; VMs made from it live on.
func (s *System) Close() error { return s.f.Close() }

// CheckExtension returns the value of a capability, 0 when it is absent (§4.4).
func (s *System) CheckExtension(capability int) int {
	n, err := ioctl(s.fd, io_(0x03), uintptr(capability))
	if err != nil {
		return 0
	}
	return n
}

// CreateVM makes a virtual machine without memory, interrupt controller or processors (§4.2).
func (s *System) CreateVM() (*VM, error) {
	fd, err := ioctl(s.fd, io_(0x01), 0)
	if err != nil {
		return nil, fmt.Errorf("KVM_CREATE_VM: %w", err)
	}
	unix.CloseOnExec(fd)
	return &VM{fd: fd, mmapSize: s.mmapSize}, nil
}

// CPUIDEntry is struct kvm_cpuid_entry2 (§4.20).
type CPUIDEntry struct {
	Function, Index, Flags uint32
	EAX, EBX, ECX, EDX     uint32
	_                      [3]uint32
}

const maxCPUIDEntries = 256

type cpuid2 struct {
	n, _    uint32
	entries [maxCPUIDEntries]CPUIDEntry
}

// cpuidHeader is the size the kernel encodes in the ioctl number: the structure without its flexible array.
const cpuidHeader = 8

// SupportedCPUID is what the processor and KVM can offer a guest (§4.20).
func (s *System) SupportedCPUID() ([]CPUIDEntry, error) {
	c := &cpuid2{n: maxCPUIDEntries}
	if _, err := ioctlPtr(s.fd, iowr(0x05, cpuidHeader), c); err != nil {
		return nil, fmt.Errorf("KVM_GET_SUPPORTED_CPUID: %w", err)
	}
	return append([]CPUIDEntry(nil), c.entries[:c.n]...), nil
}

const maxMSRs = 1024

type msrList struct {
	n       uint32
	indices [maxMSRs]uint32
}

// MSRIndexes lists the model-specific registers whose content makes up a vCPU's state (§4.3).
func (s *System) MSRIndexes() ([]uint32, error) {
	l := &msrList{n: maxMSRs}
	if _, err := ioctlPtr(s.fd, iowr(0x02, 4), l); err != nil {
		return nil, fmt.Errorf("KVM_GET_MSR_INDEX_LIST: %w", err)
	}
	return append([]uint32(nil), l.indices[:l.n]...), nil
}
