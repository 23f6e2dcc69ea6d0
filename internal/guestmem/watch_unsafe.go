package guestmem

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// userfaultfd(2), ioctl_userfaultfd(2), linux/userfaultfd.h; x/sys has neither the structures nor the numbers.
const (
	uffdUserModeOnly = 1       // open flag: anybody may
	uffdAPI          = 0xaa    //
	uffdWPAsync      = 1 << 15 // UFFD_FEATURE_WP_ASYNC (Linux 6.7): nobody needs to answer faults
	uffdRegisterWP   = 1 << 1  // UFFDIO_REGISTER_MODE_WP
)

type uffdioAPI struct{ api, features, ioctls uint64 }

type uffdioRegister struct{ start, length, mode, ioctls uint64 }

// Watch keeps the kernel from mapping the pages around each one that is touched, which it does otherwise, sixteen at a
// time: so that [Memory.Touched] tells what was touched and not what lies beside it. It lasts until stop is called, and
// makes touching slower. Linux maps single pages where a userfaultfd waits for writes, and since 6.7 one can wait for writes to a
// mapping of any kind, without doing anything about them.
func (m *Memory) Watch() (stop func(), err error) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|uffdUserModeOnly, 0, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("userfaultfd", errno)
	}
	defer func() {
		if err != nil {
			unix.Close(int(fd))
		}
	}()
	api := uffdioAPI{api: uffdAPI, features: uffdWPAsync}
	if err := uffdIoctl(fd, 0x3f, unsafe.Pointer(&api), unsafe.Sizeof(api)); err != nil {
		return nil, os.NewSyscallError("UFFDIO_API", err)
	}
	for _, r := range m.regions {
		reg := uffdioRegister{start: address(r.Host), length: uint64(len(r.Host)), mode: uffdRegisterWP}
		if err := uffdIoctl(fd, 0x00, unsafe.Pointer(&reg), unsafe.Sizeof(reg)); err != nil {
			return nil, os.NewSyscallError("UFFDIO_REGISTER", err)
		}
	}
	return func() { unix.Close(int(fd)) }, nil
}

// uffdIoctl is an ioctl of the form _IOWR(0xaa, nr, size).
func uffdIoctl(fd, nr uintptr, arg unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, 3<<30|size<<16|uffdAPI<<8|nr, uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}
