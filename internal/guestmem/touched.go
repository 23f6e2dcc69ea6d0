package guestmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Range is a run of pages of the memory image.
type Range struct {
	Page    uint64 // number of the first page, counted in the image
	Pages   uint64
	Written bool // private copies, not the image's own pages
}

// Bits of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
const (
	pagemapPresent = 1 << 63
	pagemapSwapped = 1 << 62
	pagemapFile    = 1 << 61 // a file's or shared, not a private copy
)

// Touched lists the pages that are mapped at the moment, in ascending order: what a machine over an image has read or
// written since it began.
func (m *Memory) Touched() ([]Range, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []Range
	entries := make([]byte, 64<<10)
	for _, r := range m.regions {
		pages := uint64(len(r.Host)) / PageSize
		for at := uint64(0); at < pages; {
			n := min(pages-at, uint64(len(entries))/8)
			if _, err := f.ReadAt(entries[:8*n], int64(address(r.Host)/PageSize+at)*8); err != nil {
				return nil, fmt.Errorf("read pagemap: %w", err)
			}
			for i := range n {
				e := binary.NativeEndian.Uint64(entries[8*i:])
				if e&pagemapPresent != 0 {
					out = appendPage(out, r.Offset/PageSize+at+i, e&pagemapFile == 0)
				}
			}
			at += n
		}
	}
	return out, nil
}

func appendPage(list []Range, page uint64, written bool) []Range {
	if n := len(list); n > 0 {
		if last := &list[n-1]; last.Written == written && last.Page+last.Pages == page {
			last.Pages++
			return list
		}
	}
	return append(list, Range{Page: page, Pages: 1, Written: written})
}

// Populate maps a range that a machine is about to touch, in one call in place of a fault for each page: with private
// copies if it is going to write, else the image's pages. A kernel before 5.14, which cannot, is no error.
func (m *Memory) Populate(r Range) error {
	advice := unix.MADV_POPULATE_READ
	if r.Written {
		advice = unix.MADV_POPULATE_WRITE
	}
	for r.Pages > 0 {
		gpa, n, err := m.Place(r)
		if err != nil {
			return err
		}
		b, err := m.Bytes(gpa, n*PageSize)
		if err == nil {
			err = unix.Madvise(b, advice)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
		r.Page, r.Pages = r.Page+n, r.Pages-n
	}
	return nil
}

// Place tells where in guest-physical memory a range begins, and how many of its pages follow there: it may go on beyond the
// device hole.
func (m *Memory) Place(r Range) (gpa, pages uint64, err error) {
	for _, region := range m.regions {
		first, size := region.Offset/PageSize, uint64(len(region.Host))/PageSize
		if r.Page >= first && r.Page-first < size {
			return region.GPA + (r.Page-first)*PageSize, min(r.Pages, size-(r.Page-first)), nil
		}
	}
	return 0, 0, fmt.Errorf("%w: pages %#x+%#x of the image", ErrOutside, r.Page, r.Pages)
}
