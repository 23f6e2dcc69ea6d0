package guestmem

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of memory that one page of page tables maps, and of the next larger page (x86-64).
const hugePage = 2 << 20

// reserve takes length bytes of address space that begin at a multiple of hugePage, as guest-physical memory does: so the
// guest's huge pages are huge ones here, and what lies together there has its page tables together here.
func reserve(length uint64) ([]byte, error) {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(length+hugePage), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	before := -uintptr(p) % hugePage
	start := unsafe.Add(p, before)
	if before > 0 {
		err = unix.MunmapPtr(p, before)
	}
	if err == nil {
		err = unix.MunmapPtr(unsafe.Add(start, length), hugePage-before)
	}
	b := unsafe.Slice((*byte)(start), length)
	if err != nil {
		unmap(b)
		return nil, err
	}
	return b, nil
}

// unmap ends a mapping that reserve began.
func unmap(b []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
}

// mapOver replaces the mapping of b, which stays valid: by the file's bytes at offset, copy-on-write, or by zeros.
func mapOver(b []byte, f *os.File, offset int64) error {
	fd, flags := -1, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE
	if f != nil {
		fd = int(f.Fd())
	} else {
		flags, offset = flags|unix.MAP_ANONYMOUS, 0
	}
	_, err := unix.MmapPtr(fd, offset, unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)), unix.PROT_READ|unix.PROT_WRITE, flags)
	return err
}
