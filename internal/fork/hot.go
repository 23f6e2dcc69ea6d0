package fork

import (
	"encoding/binary"
	"errors"
	"fmt"

	"clone/internal/guestmem"
	"clone/internal/vmm"
)

// The hot pages of a template are those that a fork touches on its way to readiness: noted once, by the first fork, and
// mapped in one go for the others.
//
//	8 bytes  magic
//	8 bytes  for each range: page number << 24 | pages << 1 | written, little-endian
const (
	hotNote     = "hot"
	hotMagic    = "CLONEHT\x01"
	maxHotPages = 1<<23 - 1 // in one range
)

// findHot reads which pages are hot. Where nobody noted it yet, this fork is watched.
func (s *Source) findHot(mem *guestmem.Memory) {
	b, err := s.template.Note(hotNote)
	if err == nil {
		// A damaged note helps nobody, and harms nobody.
		s.hot, _ = parseHot(b, s.template.Manifest.Memory.SizeBytes/guestmem.PageSize)
		return
	}
	if s.unwatch, err = mem.Watch(); err != nil {
		s.unwatch = func() {} // the note will hold pages beside the hot ones, too
	}
}

// Warm maps the hot pages of a paused fork. It is advice: without a note nothing is done.
func (s *Source) Warm(m *vmm.Machine) error { return m.Warm(s.hot) }

// NoteHot notes what a fork that has just become ready has touched, if nobody did before.
func (s *Source) NoteHot(m *vmm.Machine) error {
	if s.unwatch == nil {
		return nil
	}
	list, err := m.Memory().Touched()
	s.unwatch()
	s.unwatch = nil
	if err != nil {
		return err
	}
	return s.template.SetNote(hotNote, formatHot(list))
}

func formatHot(list []guestmem.Range) []byte {
	b := []byte(hotMagic)
	for _, r := range list {
		for r.Pages > 0 {
			part := min(r.Pages, maxHotPages)
			v := r.Page<<24 | part<<1
			if r.Written {
				v |= 1
			}
			b = binary.LittleEndian.AppendUint64(b, v)
			r.Page, r.Pages = r.Page+part, r.Pages-part
		}
	}
	return b
}

func parseHot(b []byte, pages uint64) ([]guestmem.Range, error) {
	if len(b) < 8 || string(b[:8]) != hotMagic || len(b)%8 != 0 {
		return nil, errors.New("not a list of hot pages")
	}
	var list []guestmem.Range
	for b = b[8:]; len(b) > 0; b = b[8:] {
		v := binary.LittleEndian.Uint64(b)
		r := guestmem.Range{Page: v >> 24, Pages: v >> 1 & maxHotPages, Written: v&1 != 0}
		if r.Pages == 0 || r.Page >= pages || r.Pages > pages-r.Page {
			return nil, fmt.Errorf("hot pages %#x+%#x of %#x", r.Page, r.Pages, pages)
		}
		list = append(list, r)
	}
	return list, nil
}
