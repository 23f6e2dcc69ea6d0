package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Extent is a run of pages that a layer stores.
type Extent struct {
	Page, Pages uint64 // number of the first page, counted in the image; number of pages
	Zero        bool   // zeros, which lie in no file
}

func (e Extent) end() uint64 { return e.Page + e.Pages }

// The index of a layer says which pages its memory file stores:
//
//	8 bytes   magic, the last byte of which is the version
//	16 bytes  for each extent, in ascending order: first page; pages << 1 | zero; little-endian
const (
	indexMagic  = "CLONEMM\x01"
	indexRecord = 16
	// maxExtents bounds what one layer adds to the mappings of a fork.
	maxExtents    = 1024
	maxIndexBytes = int64(len(indexMagic) + indexRecord*maxExtents)
)

func formatIndex(list []Extent) []byte {
	b := []byte(indexMagic)
	for _, e := range list {
		v := e.Pages << 1
		if e.Zero {
			v |= 1
		}
		b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, e.Page), v)
	}
	return b
}

// parseIndex reads an index of an image of so many pages.
func parseIndex(b []byte, pages uint64) ([]Extent, error) {
	if len(b) < len(indexMagic) || string(b[:len(indexMagic)]) != indexMagic {
		return nil, errors.New("not an index of pages, or one of another version")
	}
	b = b[len(indexMagic):]
	if len(b)%indexRecord != 0 || len(b)/indexRecord > maxExtents {
		return nil, fmt.Errorf("%d bytes of extents, at most %d of %d bytes each expected", len(b), maxExtents, indexRecord)
	}
	var list []Extent
	at := uint64(0) // no extent may begin before
	for ; len(b) > 0; b = b[indexRecord:] {
		v := binary.LittleEndian.Uint64(b[8:])
		e := Extent{Page: binary.LittleEndian.Uint64(b), Pages: v >> 1, Zero: v&1 != 0}
		if e.Pages == 0 || e.Page < at || e.Page >= pages || e.Pages > pages-e.Page {
			return nil, fmt.Errorf("extent %#x+%#x in an image of %#x pages is out of place", e.Page, e.Pages, pages)
		}
		at = e.end()
		list = append(list, e)
	}
	return list, nil
}

// appendPage adds one page at the end of a list of runs.
func appendPage(list []Extent, page uint64, zero bool) []Extent {
	if n := len(list); n > 0 && list[n-1].end() == page && list[n-1].Zero == zero {
		list[n-1].Pages++
		return list
	}
	return append(list, Extent{Page: page, Pages: 1, Zero: zero})
}

// merge joins extents that are fewer than gap pages apart: with 0 none, with 1 a run of zeros and its neighbours. What
// was joined is stored as a whole, the zeros in it too.
func merge(list []Extent, gap uint64) []Extent {
	var out []Extent
	for _, e := range list {
		if n := len(out); n > 0 && gap > 0 && e.Page-out[n-1].end() < gap {
			out[n-1].Pages, out[n-1].Zero = e.end()-out[n-1].Page, false
			continue
		}
		out = append(out, e)
	}
	return out
}
