package guestmem

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Image is what lies below the pages that are a memory's own.
type Image interface {
	// ReadPage fills p with one page, by its number in the image. It is not shared where no file holds it: a mapping of zeros
	// has nothing to show in place of a page that is given back.
	ReadPage(p []byte, page uint64) (shared bool, err error)
}

// Restored lists pages that are the memory's own although they hold what the image does, in ascending order: the guest changed
// them back, or they are page tables that were walked, which counts as writing. It stops when it has found enough of them.
// Where the guest runs it may change them again at any time.
//
// Of a memory with more than most own pages it lists none: to read them all would take long, and be of little use.
func (m *Memory) Restored(ctx context.Context, image Image, most, enough int) (list []Range, err error) {
	err = m.mapped(func(_ uint64, _ []byte, own bool) error {
		if own {
			most--
		}
		return nil
	})
	if err != nil || most < 0 {
		return nil, err
	}
	below := make([]byte, PageSize)
	err = m.mapped(func(page uint64, p []byte, own bool) error {
		if !own {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		same, err := equal(p, image, page, below)
		if !same || err != nil {
			return err
		}
		list = appendPage(list, page, true)
		if enough--; enough == 0 {
			return errEnough
		}
		return nil
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

// equal tells whether p is what the image shows as that page, with room for it below.
func equal(p []byte, image Image, page uint64, below []byte) (bool, error) {
	shared, err := image.ReadPage(below, page)
	return shared && err == nil && bytes.Equal(p, below), err
}
