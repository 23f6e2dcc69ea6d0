package guestmem

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
