package guestmem

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PAGEMAP_SCAN of /proc/PID/pagemap (Linux 6.7; Documentation/admin-guide/mm/pagemap.rst, linux/fs.h), which x/sys does not have.
const (
	pagemapScan   = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)
	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsPFNZero = 1 << 5 // the page of zeros that all read who have not written
)

// pmScanArg is struct pm_scan_arg.
type pmScanArg struct {
	size, flags                                     uint64
	start, end, walkEnd                             uint64
	vec, vecLen                                     uint64
	maxPages                                        uint64
	categoryInverted, categoryMask, categoryAnyMask uint64
	returnMask                                      uint64
}

// pageRegion is struct page_region: addresses.
type pageRegion struct{ start, end, categories uint64 }

// scanOwn lists runs of private copies among the pages at the addresses from start to end, and says how far it came: not to
// the end when the list is full. A kernel that cannot gives ENOTTY.
func scanOwn(pagemap *os.File, start, end uint64, list []pageRegion) (n int, to uint64, err error) {
	arg := pmScanArg{
		start: start, end: end, vec: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(list)))), vecLen: uint64(len(list)),
		categoryMask: pageIsPresent | pageIsFile | pageIsPFNZero, categoryInverted: pageIsFile | pageIsPFNZero,
		returnMask: pageIsPresent,
	}
	arg.size = uint64(unsafe.Sizeof(arg))
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, pagemap.Fd(), pagemapScan, uintptr(unsafe.Pointer(&arg)))
	runtime.KeepAlive(list)
	if errno != 0 {
		return 0, 0, os.NewSyscallError("PAGEMAP_SCAN", errno)
	}
	return int(r), arg.walkEnd, nil
}
