package guestmem

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Range is a run of pages of the memory image.
type Range struct {
	Page    uint64 // number of the first page, counted in the image
	Pages   uint64
	Written bool // private copies, not the image's own pages
}

// Touched lists the pages that are mapped at the moment, in ascending order: what a machine over an image has read or
// written since it began.
func (m *Memory) Touched() (list []Range, err error) {
	err = m.mapped(make([]byte, pagemapBytes), func(page uint64, _ []byte, own bool) error {
		list = appendPage(list, page, own)
		return nil
	})
	return list, err
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
	return m.parts(r, func(b []byte, _ uint64) error {
		if err := unix.Madvise(b, advice); !errors.Is(err, unix.EINVAL) {
			return err
		}
		return nil
	})
}

// parts calls f for the bytes of a range, and the number of their first page: once, or twice where it goes on beyond the
// device hole.
func (m *Memory) parts(r Range, f func(b []byte, first uint64) error) error {
	for r.Pages > 0 {
		gpa, n, err := m.Place(r)
		if err != nil {
			return err
		}
		b, err := m.Bytes(gpa, n*PageSize)
		if err == nil {
			err = f(b, r.Page)
		}
		if err != nil {
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
