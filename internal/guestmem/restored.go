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

// Comparison is that of a memory with the image below it. It keeps the room that it takes: a machine is compared again and again,
// by a monitor whose heap stays small as long as it makes no garbage.
type Comparison struct {
	mem            *Memory
	image          Image
	entries, below []byte
	list           []Range
}

// Compare prepares to compare the memory with the image that it was mapped over.
func (m *Memory) Compare(image Image) *Comparison {
	return &Comparison{mem: m, image: image, entries: make([]byte, pagemapBytes), below: make([]byte, PageSize)}
}

// Restored lists pages that are the memory's own although they hold what the image does, in ascending order: the guest changed
// them back, or they are page tables that were walked, which counts as writing. It stops when it has found enough of them.
// Where the guest runs it may change them again at any time.
//
// Of a memory with more than most own pages it lists none: to read them all would take long, and be of little use. The list is
// valid until the next call.
func (c *Comparison) Restored(ctx context.Context, most, enough int) ([]Range, error) {
	err := c.mem.mapped(c.entries, func(_ uint64, _ []byte, own bool) error {
		if own {
			most--
		}
		return nil
	})
	if err != nil || most < 0 {
		return nil, err
	}
	c.list = c.list[:0]
	err = c.mem.mapped(c.entries, func(page uint64, p []byte, own bool) error {
		if !own {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		same, err := c.equal(p, page)
		if !same || err != nil {
			return err
		}
		c.list = appendPage(c.list, page, true)
		if enough--; enough == 0 {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return c.list, nil
}

var errEnough = errors.New("enough")

// GiveBack gives up those pages of list that hold what the image does, and returns their number: the image's show again.
// Nobody may write guest memory meanwhile: the guest is paused.
func (c *Comparison) GiveBack(list []Range) (pages uint64, err error) {
	for _, r := range list {
		err := c.mem.parts(r, func(b []byte, first uint64) error {
			for at := 0; at < len(b); {
				end := at
				for ; end < len(b); end += PageSize {
					same, err := c.equal(b[end:end+PageSize], first+uint64(end)/PageSize)
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

// equal tells whether p is what the image shows as that page.
func (c *Comparison) equal(p []byte, page uint64) (bool, error) {
	shared, err := c.image.ReadPage(c.below, page)
	return shared && err == nil && bytes.Equal(p, c.below), err
}
