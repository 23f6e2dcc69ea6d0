package guestmem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

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
	mem     *Memory
	image   Image
	below   []byte // a page of the image
	regions []pageRegion
	entries []byte // of the pagemap, where the kernel cannot scan it; nil elsewhere
	list    []Range
}

// scanRegions is how many runs of pages are asked for at once.
const scanRegions = 256

// Compare prepares to compare the memory with the image that it was mapped over.
func (m *Memory) Compare(image Image) *Comparison {
	return &Comparison{mem: m, image: image, below: make([]byte, PageSize), regions: make([]pageRegion, scanRegions)}
}

// Restored lists pages that are the memory's own although they hold what the image does, in ascending order: the guest changed
// them back, or they are page tables that were walked, which counts as writing. It stops when it has found enough of them.
// Where the guest runs it may change them again at any time.
//
// Of a memory with more than most own pages it lists none: to read them all would take long, and be of little use. The list is
// valid until the next call.
func (c *Comparison) Restored(ctx context.Context, most, enough int) ([]Range, error) {
	err := c.own(func(_ uint64, b []byte) error {
		most -= len(b) / PageSize
		return nil
	})
	if err != nil || most < 0 {
		return nil, err
	}
	c.list = c.list[:0]
	err = c.own(func(page uint64, b []byte) error {
		for ; len(b) > 0; page, b = page+1, b[PageSize:] {
			if err := ctx.Err(); err != nil {
				return err
			}
			same, err := c.equal(b[:PageSize], page)
			if err != nil {
				return err
			}
			if !same {
				continue
			}
			c.list = appendPage(c.list, page, true)
			if enough--; enough == 0 {
				return errEnough
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return c.list, nil
}

var errEnough = errors.New("enough")

// own visits runs of pages that are the memory's own, in ascending order, until visit returns an error: the number of the
// first, and their bytes.
func (c *Comparison) own(visit func(first uint64, b []byte) error) error {
	if c.entries == nil {
		err := c.scan(visit)
		if !errors.Is(err, unix.ENOTTY) {
			return err
		}
		c.entries = make([]byte, pagemapBytes)
	}
	return c.mem.mapped(c.entries, func(page uint64, p []byte, own bool) error {
		if !own {
			return nil
		}
		return visit(page, p)
	})
}

// scan is own where the kernel looks for them: of a memory that is mostly not touched, that takes a fraction of the time.
func (c *Comparison) scan(visit func(first uint64, b []byte) error) error {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return err
	}
	defer f.Close()
	for _, r := range c.mem.regions {
		base := address(r.Host)
		for at, end := base, base+uint64(len(r.Host)); at < end; {
			n, to, err := scanOwn(f, at, end, c.regions)
			if err != nil {
				return err
			}
			if to <= at {
				return fmt.Errorf("PAGEMAP_SCAN stands still at %#x", at)
			}
			at = to
			for _, run := range c.regions[:n] {
				if err := visit((r.Offset+run.start-base)/PageSize, r.Host[run.start-base:run.end-base]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

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
