package guestmem

import (
	"encoding/binary"
	"fmt"
	"os"
)

// Bits of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
const (
	pagemapPresent = 1 << 63
	pagemapSwapped = 1 << 62
	pagemapFile    = 1 << 61 // a file's or shared, not a private copy
)

// pagemapBytes is how much of a pagemap is read at once.
const pagemapBytes = 8 << 10

// mapped visits the pages that are mapped at the moment, in ascending order, until visit returns an error: the page's number
// in the image, its bytes, and whether it is a private copy. The entries are room for the pagemap's.
func (m *Memory) mapped(entries []byte, visit func(page uint64, p []byte, own bool) error) error {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return err
	}
	defer f.Close()
	for _, r := range m.regions {
		pages := uint64(len(r.Host)) / PageSize
		for at := uint64(0); at < pages; {
			n := min(pages-at, uint64(len(entries))/8)
			if _, err := f.ReadAt(entries[:8*n], int64(address(r.Host)/PageSize+at)*8); err != nil {
				return fmt.Errorf("read pagemap: %w", err)
			}
			for i := range n {
				e := binary.NativeEndian.Uint64(entries[8*i:])
				if e&pagemapPresent == 0 {
					continue
				}
				page := at + i
				if err := visit(r.Offset/PageSize+page, r.Host[page*PageSize:(page+1)*PageSize], e&pagemapFile == 0); err != nil {
					return err
				}
			}
			at += n
		}
	}
	return nil
}
