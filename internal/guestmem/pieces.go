package guestmem

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Piece is a run of pages of the memory image and the file that holds them, at the same offset as in the image.
type Piece struct {
	Page, Pages uint64
	File        *os.File // nil: zeros
}

// MapPieces maps size bytes of RAM copy-on-write over the files of an image: they are read as pages are touched and never
// written. The pieces are in ascending order and fill the image without a gap. A file that ends before its piece is refused
// here, because a page beyond its end would be a SIGBUS in the running guest. The files stay the caller's, who may close
// them: the mapping holds what it needs.
func MapPieces(size uint64, pieces []Piece) (*Memory, error) {
	base, err := checkPieces(size, pieces)
	if err != nil {
		return nil, err
	}
	// The file that holds most pages is mapped everywhere, and the others over it: a mapping less for each of its pieces.
	m, err := newMemory(size, base)
	if err != nil {
		return nil, err
	}
	for _, p := range pieces {
		if p.File == base {
			continue
		}
		if err := m.mapPiece(p); err != nil {
			m.Close()
			return nil, err
		}
	}
	return m, nil
}

// checkPieces returns the file that most pages are of.
func checkPieces(size uint64, pieces []Piece) (*os.File, error) {
	sizes := map[*os.File]uint64{nil: ^uint64(0)}
	pages := map[*os.File]uint64{}
	at := uint64(0)
	for _, p := range pieces {
		if p.Page != at || p.Pages == 0 || p.Pages > size/PageSize-at {
			return nil, fmt.Errorf("pieces of a memory image do not fit together at page %#x", at)
		}
		at += p.Pages
		if _, known := sizes[p.File]; !known {
			info, err := p.File.Stat()
			if err != nil {
				return nil, err
			}
			sizes[p.File] = uint64(info.Size())
		}
		if sizes[p.File] < at*PageSize {
			return nil, fmt.Errorf("memory image %s is truncated: %d bytes, %d expected", p.File.Name(), sizes[p.File], at*PageSize)
		}
		pages[p.File] += p.Pages
	}
	if at != size/PageSize {
		return nil, fmt.Errorf("pieces of a memory image end at page %#x of %#x", at, size/PageSize)
	}
	var base *os.File
	for f, n := range pages {
		// It is mapped over all, so it must reach the end.
		if sizes[f] >= size && (n > pages[base] || n == pages[base] && base == nil) {
			base = f
		}
	}
	return base, nil
}

// mapPiece puts a piece over what is mapped there; it may reach over the hole.
func (m *Memory) mapPiece(p Piece) error {
	for _, r := range m.regions {
		from := max(p.Page*PageSize, r.Offset)
		to := min((p.Page+p.Pages)*PageSize, r.Offset+uint64(len(r.Host)))
		if from >= to {
			continue
		}
		if err := mapOver(r.Host[from-r.Offset:to-r.Offset], p.File, int64(from)); err != nil {
			if errors.Is(err, unix.ENOMEM) {
				err = fmt.Errorf("%w: too many pieces for this host (vm.max_map_count); `clone template flatten` makes one of them", err)
			}
			return fmt.Errorf("map pages %#x+%#x of guest RAM: %w", p.Page, p.Pages, err)
		}
	}
	return nil
}
