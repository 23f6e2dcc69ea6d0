package guestmem

import (
	"errors"
	"fmt"
	"os"
)

// Layout of guest-physical memory: RAM fills [0, HoleStart) first and continues at HoleEnd.
const (
	HoleStart = 3 << 30 // first byte of the device hole
	HoleEnd   = 4 << 30 // first byte of RAM above the hole
	PageSize  = 4096
)

// ErrOutside is wrapped by every error about an address range that is not wholly within one region of RAM.
var ErrOutside = errors.New("address outside guest RAM")

// Region is one contiguous range of guest RAM.
type Region struct {
	GPA    uint64 // guest-physical address of the first byte
	Offset uint64 // offset of the first byte in the memory image (RAM without the hole)
	Host   []byte // the mapping in this process; its length is the region's size in bytes
}

// Memory is the guest's RAM: one or two regions, private to this process.
type Memory struct {
	regions []Region
	size    uint64
}

// Split returns the regions of size bytes of RAM without a mapping: below the hole, and above it when it does not fit.
func Split(size uint64) []Region {
	low := min(size, HoleStart)
	regions := []Region{{GPA: 0, Offset: 0, Host: nil}}
	if size > low {
		regions = append(regions, Region{GPA: HoleEnd, Offset: low})
	}
	return regions
}

// NewAnonymous maps size bytes of zeroed RAM. Nothing is reserved: the host gives pages as the guest touches them.
func NewAnonymous(size uint64) (*Memory, error) {
	return newMemory(size, nil)
}

// MapPrivate maps size bytes of RAM copy-on-write over one memory image, as MapPieces does.
func MapPrivate(f *os.File, size uint64) (*Memory, error) {
	return MapPieces(size, []Piece{{Pages: size / PageSize, File: f}})
}

func newMemory(size uint64, image *os.File) (*Memory, error) {
	if size == 0 || size%PageSize != 0 {
		return nil, fmt.Errorf("guest RAM of %d bytes is not a positive multiple of %d", size, PageSize)
	}
	m := &Memory{size: size}
	for _, r := range Split(size) {
		length := size - r.Offset
		if r.GPA < HoleStart {
			length = min(size, HoleStart)
		}
		host, err := reserve(length)
		if err == nil {
			r.Host = host
			m.regions = append(m.regions, r)
			err = mapOver(host, image, int64(r.Offset))
		}
		if err != nil {
			m.Close()
			return nil, fmt.Errorf("map %d bytes of guest RAM: %w", length, err)
		}
	}
	return m, nil
}

// Size is the number of bytes of RAM, the hole not counted.
func (m *Memory) Size() uint64 { return m.size }

// Regions returns the regions in ascending order. The slice must not be changed.
func (m *Memory) Regions() []Region { return m.regions }

// Bytes returns the host bytes of [gpa, gpa+n), for reading. They are live guest memory.
func (m *Memory) Bytes(gpa, n uint64) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		size := uint64(len(r.Host))
		if gpa >= r.GPA && gpa-r.GPA <= size && n <= size-(gpa-r.GPA) {
			at := gpa - r.GPA
			return r.Host[at : at+n : at+n], nil
		}
	}
	return nil, fmt.Errorf("%w: %#x+%#x", ErrOutside, gpa, n)
}

// ReadAt copies len(p) bytes at gpa into p.
func (m *Memory) ReadAt(p []byte, gpa uint64) error {
	b, err := m.Bytes(gpa, uint64(len(p)))
	if err == nil {
		copy(p, b)
	}
	return err
}

// WriteAt copies p to gpa.
func (m *Memory) WriteAt(p []byte, gpa uint64) error {
	b, err := m.Bytes(gpa, uint64(len(p)))
	if err == nil {
		copy(b, p)
	}
	return err
}

// Close unmaps the RAM. No slice of it may be used afterwards.
func (m *Memory) Close() error {
	var errs []error
	for _, r := range m.regions {
		errs = append(errs, unmap(r.Host))
	}
	m.regions = nil
	return errors.Join(errs...)
}
