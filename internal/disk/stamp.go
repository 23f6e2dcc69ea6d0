package disk

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Stamp tells one content of an image from another as far as its file does: by its size and the time of the last write. A
// block device's node knows nothing of writes, so that of a device is its size alone.
type Stamp struct {
	SizeBytes int64 `json:"size_bytes"`
	ModTimeNS int64 `json:"mtime_ns"` // since 1970; 0 for a block device
}

// StampOf is the stamp of what a path leads to now.
func StampOf(path string) (Stamp, error) {
	// O_NONBLOCK: a FIFO that has taken the image's place is another stamp, not a wait for its other end.
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	})
	if err != nil {
		return Stamp{}, openError(path, Options{ReadOnly: true}, err)
	}
	defer unix.Close(fd)
	s, err := stamp(fd)
	if err != nil {
		return Stamp{}, fmt.Errorf("disk image %s: stat: %w", path, err)
	}
	return s, nil
}

// Stamp implements [Image].
func (r *raw) Stamp() (Stamp, error) {
	s, err := stamp(r.fd)
	if err != nil {
		return Stamp{}, r.fail("stat", err)
	}
	return s, nil
}

func stamp(fd int) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Stamp{}, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		end, err := unix.Seek(fd, 0, io.SeekEnd)
		return Stamp{SizeBytes: end}, err
	}
	return Stamp{SizeBytes: st.Size, ModTimeNS: unix.TimespecToNsec(st.Mtim)}, nil
}
