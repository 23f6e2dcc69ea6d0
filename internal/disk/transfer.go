package disk

import (
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

// iovMax is how many buffers the kernel takes in one call (IOV_MAX).
const iovMax = 1024

// ReadAtv fails with io.ErrUnexpectedEOF where the file was truncated after it was opened.
func (r *raw) ReadAtv(segs [][]byte, off int64) error {
	return r.transfer("read", unix.Preadv, segs, off)
}

// TryReadAtv reads what is in the host's page cache (RWF_NOWAIT). Any obstacle, a hole or a file system that does not
// know the flag among them, is left to ReadAtv.
func (r *raw) TryReadAtv(segs [][]byte, off int64) bool {
	total := length(segs)
	if len(segs) > iovMax || r.within("read", off, total) != nil {
		return false
	}
	n, err := unix.Preadv2(r.fd, segs, off, unix.RWF_NOWAIT)
	return err == nil && int64(n) == total
}

func (r *raw) WriteAtv(segs [][]byte, off int64) error {
	if r.readOnly {
		return r.fail("write", ErrReadOnly)
	}
	return r.transfer("write", unix.Pwritev, segs, off)
}

func (r *raw) Flush() error {
	if r.readOnly {
		return nil
	}
	if _, err := retry(func() (int, error) { return 0, unix.Fdatasync(r.fd) }); err != nil {
		return r.fail("flush", err)
	}
	return nil
}

// transfer calls the kernel until every byte has moved: one call takes at most iovMax buffers and 2 GiB, and may
// move less for reasons of its own.
func (r *raw) transfer(verb string, call func(fd int, iovs [][]byte, off int64) (int, error), segs [][]byte, off int64) error {
	if err := r.within(verb, off, length(segs)); err != nil {
		return err
	}
	for segs = advance(segs, 0); len(segs) > 0; {
		n, err := retry(func() (int, error) { return call(r.fd, segs[:min(len(segs), iovMax)], off) })
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return r.fail(fmt.Sprintf("%s at byte %d", verb, off), err)
		}
		off += int64(n)
		segs = advance(segs, n)
	}
	return nil
}

// length is the number of bytes in the buffers.
func length(segs [][]byte) int64 {
	var n int64
	for _, seg := range segs {
		n += int64(len(seg))
	}
	return n
}

// advance returns what is left of the buffers after n bytes: it does not begin with an empty buffer. The caller's
// list is left as it is.
func advance(segs [][]byte, n int) [][]byte {
	for len(segs) > 0 && n >= len(segs[0]) {
		n -= len(segs[0])
		segs = segs[1:]
	}
	if n > 0 {
		segs = slices.Clone(segs)
		segs[0] = segs[0][n:]
	}
	return segs
}

// within checks that [off, off+n) is inside the image.
func (r *raw) within(verb string, off, n int64) error {
	if off < 0 || n < 0 || n > r.size || off > r.size-n {
		return r.fail(fmt.Sprintf("%s %d bytes at byte %d of %d", verb, n, off, r.size), ErrRange)
	}
	return nil
}
