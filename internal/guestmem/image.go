package guestmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Chunk returns the n bytes at offset of the memory image (RAM without the hole), or nil when they are known to be
// zero because neither the guest nor the image below ever had anything there. It is how a snapshot reads memory
// without touching, and thereby populating, all of it. The range must not cross from one region into another.
func (m *Memory) Chunk(offset, n uint64) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		if size := uint64(len(r.Host)); offset < r.Offset || offset-r.Offset >= size || n > size-(offset-r.Offset) {
			continue
		}
		b := r.Host[offset-r.Offset:][:n:n]
		touched, err := populated(b)
		if err != nil || touched {
			return b, err
		}
		if m.image == nil {
			return nil, nil
		}
		data, err := unix.Seek(int(m.image.Fd()), int64(offset), unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && uint64(data) >= offset+n {
			return nil, nil
		}
		return b, err
	}
	return nil, fmt.Errorf("%w: image offset %#x+%#x", ErrOutside, offset, n)
}

// Bits of an entry of /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst).
const (
	pagemapPresent = 1 << 63
	pagemapSwapped = 1 << 62
)

// populated tells whether any page of b, which is mapped memory, is in RAM or swap.
func populated(b []byte) (bool, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return false, err
	}
	defer f.Close()
	first := address(b) / PageSize
	entries := make([]byte, 8*((len(b)+PageSize-1)/PageSize))
	if _, err := f.ReadAt(entries, int64(first)*8); err != nil {
		return false, fmt.Errorf("read pagemap: %w", err)
	}
	for ; len(entries) > 0; entries = entries[8:] {
		if binary.NativeEndian.Uint64(entries)&(pagemapPresent|pagemapSwapped) != 0 {
			return true, nil
		}
	}
	return false, nil
}
