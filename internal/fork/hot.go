package fork

import (
	"encoding/binary"
	"errors"
	"fmt"

	"clone/internal/guestmem"
	"clone/internal/vmm"
)

// The hot pages of a template are those that a fork touches on its way to readiness: noted once, by the first fork, and
// mapped in one go for the others. A fork that is a function call goes on to its command at once, so its way ends with the
// command's first word, and its pages have a note of their own.
//
//	8 bytes  magic
//	8 bytes  for each range: page number << 24 | pages << 1 | written, little-endian
const (
	hotNote     = "hot"
	callNote    = "call"
	hotMagic    = "CLONEHT\x01"
	maxHotPages = 1<<23 - 1 // in one range

	// maxNotedPages bounds what later forks map before they run (64 MiB): the one that noted it may have had a bad day, or run
	// another command than the next call.
	maxNotedPages = 16384
)

// noteFor is the kind of note that a fork goes by.
func noteFor(opts Options) string {
	if opts.Call {
		return callNote
	}
	return hotNote
}

// findHot reads which pages are hot. Where nobody noted it yet, this fork is watched.
func (s *Source) findHot(mem *guestmem.Memory) {
	err := s.readHot(s.note)
	if err == nil {
		return
	}
	if s.note != hotNote {
		_ = s.readHot(hotNote) // a call too has to become ready
	}
	if s.unwatch, err = mem.Watch(); err != nil {
		s.unwatch = func() {} // the note will hold pages beside the hot ones, too
	}
}

// readHot takes the hot pages from a note. Its error says that there is none: a damaged one helps nobody, and harms nobody.
func (s *Source) readHot(kind string) error {
	b, err := s.template.Note(kind)
	if err == nil {
		s.hot, _ = parseHot(b, s.template.Manifest.Memory.SizeBytes/guestmem.PageSize)
	}
	return err
}

// Warm maps the hot pages of a paused fork, unless these are more bytes than room. It is advice: without a note nothing is done.
func (s *Source) Warm(m *vmm.Machine, room uint64) error {
	if pages(s.hot) > room/guestmem.PageSize {
		return nil
	}
	return m.Warm(s.hot)
}

// NoteHot notes what a fork that has come to the end of its way has touched, if nobody did before.
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
	if pages(list) > maxNotedPages {
		list = s.hot // of a call, what forks touch anyway
	}
	if len(list) == 0 {
		return nil // another fork may find something better
	}
	return s.template.SetNote(s.note, formatHot(list))
}

func pages(list []guestmem.Range) (n uint64) {
	for _, r := range list {
		n += r.Pages
	}
	return n
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
