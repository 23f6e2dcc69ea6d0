package kvm

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exit reasons of KVM_RUN (§5).
const (
	ExitIO            = 2
	ExitMMIO          = 6
	ExitShutdown      = 8
	ExitFailEntry     = 9
	ExitIntr          = 10
	ExitInternalError = 17
	ExitSystemEvent   = 24
)

// runPage is the head of struct kvm_run (§5), as far as we read it.
type runPage struct {
	requestInterruptWindow uint8
	immediateExit          uint8
	_                      [6]uint8
	exitReason             uint32
	_                      [20]uint8 // ready_for_interrupt_injection ... apic_base
	union                  [256]uint8
}

func (v *VCPU) page() *runPage { return (*runPage)(unsafe.Pointer(&v.run[0])) }

// Run enters the guest until something needs us, and returns the exit reason. ExitIntr means that a signal or a kick
// ended it: no exit is pending, and the next Run goes on.
func (v *VCPU) Run() (reason uint32, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(v.fd), io_(0x80), 0)
	switch errno {
	case 0:
		return v.page().exitReason, nil
	case unix.EINTR, unix.EAGAIN:
		return ExitIntr, nil
	default:
		return 0, wrap("KVM_RUN", errno)
	}
}

// SetImmediateExit makes the next (or present) Run return ExitIntr at once, after completing a pending port or MMIO
// access; the vCPU thread takes it back. Safe from any thread (§5, immediate_exit).
func (v *VCPU) SetImmediateExit(on bool) {
	p := (*uint32)(unsafe.Pointer(&v.run[0])) // request_interrupt_window, immediate_exit, padding: ours to write
	if on {
		atomic.StoreUint32(p, 1<<8)
	} else {
		atomic.StoreUint32(p, 0)
	}
}

// IO is a port access (§5, KVM_EXIT_IO). Data is live: a read is answered by filling it before the next Run.
type IO struct {
	Write bool
	Port  uint16
	Size  int    // bytes of one access
	Data  []byte // Count × Size bytes of a string instruction
}

// IO describes the access after ExitIO.
func (v *VCPU) IO() IO {
	u := (*struct {
		direction, size uint8
		port            uint16
		count           uint32
		offset          uint64
	})(unsafe.Pointer(&v.page().union))
	n := uint64(u.size) * uint64(u.count)
	return IO{Write: u.direction == 1, Port: u.port, Size: int(u.size), Data: v.run[u.offset : u.offset+n]}
}

// MMIO is a memory access outside RAM (§5, KVM_EXIT_MMIO). Data is live, as in IO.
type MMIO struct {
	Write bool
	GPA   uint64
	Data  []byte
}

// MMIO describes the access after ExitMMIO.
func (v *VCPU) MMIO() MMIO {
	u := (*struct {
		gpa     uint64
		data    [8]uint8
		len     uint32
		isWrite uint8
	})(unsafe.Pointer(&v.page().union))
	return MMIO{Write: u.isWrite != 0, GPA: u.gpa, Data: u.data[:min(u.len, 8)]}
}

// FailureDetail is the first words of the exit union: the hardware's reason after ExitFailEntry, the suberror after
// ExitInternalError, the event type after ExitSystemEvent.
func (v *VCPU) FailureDetail() [2]uint64 {
	return *(*[2]uint64)(unsafe.Pointer(&v.page().union))
}
