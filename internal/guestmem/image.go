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
// without touching, and thereby populating, all of it: of a mapping over an image, only the pages that are there are
// read through it, the others from the file, because a fault for each would stop the guest for many times as long. The
// range must not cross from one region into another.
func (m *Memory) Chunk(offset, n uint64) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		if size := uint64(len(r.Host)); offset < r.Offset || offset-r.Offset >= size || n > size-(offset-r.Offset) {
			continue
		}
		b := r.Host[offset-r.Offset:][:n:n]
		there, err := populated(b)
		if err != nil || m.image == nil && there != nil {
			return b, err
		}
		if m.image == nil {
			return nil, nil
		}
		return m.overImage(b, offset, there)
	}
	return nil, fmt.Errorf("%w: image offset %#x+%#x", ErrOutside, offset, n)
}

// overImage copies a chunk: the image's bytes, and over them the pages that are mapped.
func (m *Memory) overImage(b []byte, offset uint64, there []int) ([]byte, error) {
	data, err := unix.Seek(int(m.image.Fd()), int64(offset), unix.SEEK_DATA)
	hole := errors.Is(err, unix.ENXIO) || err == nil && uint64(data) >= offset+uint64(len(b))
	if hole && there == nil {
		return nil, nil
	}
	if err != nil && !hole {
		return nil, err
	}
	p := make([]byte, len(b))
	if !hole {
		if _, err := m.image.ReadAt(p, int64(offset)); err != nil {
			return nil, fmt.Errorf("read memory image: %w", err)
		}
	}
	for _, page := range there {
		at := page * PageSize
		end := min(at+PageSize, len(b))
		copy(p[at:end], b[at:end])
	}
	return p, nil
}

// Bits of an entry of /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst).
const (
	pagemapPresent = 1 << 63
	pagemapSwapped = 1 << 62
)

// populated lists the pages of b, which is mapped memory, that are in RAM or swap.
func populated(b []byte) ([]int, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	first := address(b) / PageSize
	entries := make([]byte, 8*((len(b)+PageSize-1)/PageSize))
	if _, err := f.ReadAt(entries, int64(first)*8); err != nil {
		return nil, fmt.Errorf("read pagemap: %w", err)
	}
	var there []int
	for page := range len(entries) / 8 {
		if binary.NativeEndian.Uint64(entries[8*page:])&(pagemapPresent|pagemapSwapped) != 0 {
			there = append(there, page)
		}
	}
	return there, nil
}
