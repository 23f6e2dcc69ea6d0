package guestmem

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Image is what lies below the pages that are a memory's own.
type Image interface {
	// ReadPages fills p with pages from first on, by their numbers in the image.
	ReadPages(p []byte, first uint64) error
}

// Restored lists the pages that are the memory's own although they hold what the image does, in ascending order: the guest
// changed them back, or they are page tables that were walked, which counts as writing. Where the guest runs it may change
// them again at any time.
//
// Of a memory with more than most own pages it lists none: that would take long, and be of little use.
func (m *Memory) Restored(image Image, most int) (list []Range, err error) {
	below := make([]byte, PageSize)
	err = m.mapped(func(page uint64, p []byte, own bool) error {
		if !own {
			return nil
		}
		if most--; most < 0 {
			list = nil
			return errEnough
		}
		same, err := equal(p, image, page, below)
		if same {
			list = appendPage(list, page, true)
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, err
}

var errEnough = errors.New("enough")

// GiveBack gives up those pages of list that hold what the image does, and returns their number: the image's show again.
// Nobody may write guest memory meanwhile: the guest is paused.
func (m *Memory) GiveBack(image Image, list []Range) (pages uint64, err error) {
	below := make([]byte, PageSize)
	for _, r := range list {
		err := m.parts(r, func(b []byte, first uint64) error {
			for at := 0; at < len(b); {
				end := at
				for ; end < len(b); end += PageSize {
					same, err := equal(b[end:end+PageSize], image, first+uint64(end)/PageSize, below)
					if err != nil {
						return err
					}
					if !same {
						break
					}
				}
				if end > at {
					if err := unix.Madvise(b[at:end], unix.MADV_DONTNEED); err != nil {
						return fmt.Errorf("give pages back: %w", err)
					}
					pages += uint64(end-at) / PageSize
				}
				at = end + PageSize
			}
			return nil
		})
		if err != nil {
			return pages, err
		}
	}
	return pages, nil
}

// equal tells whether p is what the image has as that page, with room for it below.
func equal(p []byte, image Image, page uint64, below []byte) (bool, error) {
	if err := image.ReadPages(below, page); err != nil {
		return false, err
	}
	return bytes.Equal(p, below), nil
}
