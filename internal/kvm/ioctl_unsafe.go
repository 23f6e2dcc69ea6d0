package kvm

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Direction bits of an ioctl number (asm-generic/ioctl.h), as the kernel's _IO macros build them.
const (
	dirNone  = 0
	dirWrite = 1 // user → kernel
	dirRead  = 2 // kernel → user
)

const kvmIO = 0xAE

func ioc(dir, nr, size uintptr) uintptr { return dir<<30 | size<<16 | kvmIO<<8 | nr }
func io_(nr uintptr) uintptr            { return ioc(dirNone, nr, 0) }
func iow(nr, size uintptr) uintptr      { return ioc(dirWrite, nr, size) }
func ior(nr, size uintptr) uintptr      { return ioc(dirRead, nr, size) }
func iowr(nr, size uintptr) uintptr     { return ioc(dirRead|dirWrite, nr, size) }

// ioctl passes a plain number.
func ioctl(fd int, req, arg uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, arg)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR: // KVM_CREATE_VM among others gives up when a signal is pending
			continue
		default:
			return int(r), errno
		}
	}
}

// ioctlPtr passes a pointer to a kernel structure.
func ioctlPtr[T any](fd int, req uintptr, p *T) (int, error) {
	r, err := ioctl(fd, req, uintptr(unsafe.Pointer(p)))
	runtime.KeepAlive(p)
	return r, err
}

// ioctlBytes passes a structure that is carried as bytes.
func ioctlBytes(fd int, req uintptr, b []byte) error {
	_, err := ioctlPtr(fd, req, &b[0])
	return err
}

// sizeOf is the size of a kernel structure in bytes, for building ioctl numbers.
func sizeOf[T any]() uintptr { var t T; return unsafe.Sizeof(t) }

// addressOf gives the kernel the address of mmapped memory (never of the Go heap).
func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// attribute gets or sets the vCPU attribute group 0, attribute 0 (the TSC group has no other). The kernel follows a
// pointer inside the structure; pinning keeps the value off the stack, which may move.
func attribute(fd int, req uintptr, value *uint64) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(value)
	a := deviceAttr{addr: uint64(uintptr(unsafe.Pointer(value)))}
	_, err := ioctlPtr(fd, req, &a)
	return err
}
