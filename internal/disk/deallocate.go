package disk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// zeroes is what WriteZeroes writes where the kernel cannot do it by itself. It is never written to.
var zeroes [256 << 10]byte

func (r *raw) Discard(off, n int64) error {
	return r.deallocate("discard", unix.FALLOC_FL_PUNCH_HOLE, off, n)
}

func (r *raw) WriteZeroes(off, n int64, unmap bool) error {
	mode := uint32(unix.FALLOC_FL_ZERO_RANGE)
	if unmap {
		mode = unix.FALLOC_FL_PUNCH_HOLE
	}
	err := r.deallocate("write zeroes", mode, off, n)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for n > 0 {
		part := min(n, int64(len(zeroes)))
		if err := r.WriteAtv([][]byte{zeroes[:part]}, off); err != nil {
			return err
		}
		off, n = off+part, n-part
	}
	return nil
}

// deallocate calls fallocate(2). The error wraps errors.ErrUnsupported where the file system or the device cannot do
// it, be it at all or for a range that is not aligned to the device's own sectors (EINVAL: the range itself is good).
func (r *raw) deallocate(verb string, mode uint32, off, n int64) error {
	if r.readOnly {
		return r.fail(verb, ErrReadOnly)
	}
	if err := r.within(verb, off, n); err != nil || n == 0 {
		return err
	}
	_, err := retry(func() (int, error) {
		return 0, unix.Fallocate(r.fd, mode|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV):
		err = fmt.Errorf("%w (%w)", errors.ErrUnsupported, err)
	}
	return r.fail(fmt.Sprintf("%s %d bytes at byte %d", verb, n, off), err)
}
