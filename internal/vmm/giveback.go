package vmm

import "clone/internal/guestmem"

const (
	// maxOwnPages is with how many pages of its own a machine is left alone (64 MiB): it has other things to do.
	maxOwnPages = 16384
	// pausePages is how many pages are looked at while the guest stands still once: natively that takes a millisecond.
	pausePages = 512
)

// GiveBack gives up the pages of guest memory that the guest has changed back to what they were in the image, and returns
// their number. They are looked for while it runs; for a second look, and to give them up, it stands still.
func (m *Machine) GiveBack(image guestmem.Image) (pages uint64, err error) {
	list, err := m.mem.Restored(image, maxOwnPages)
	for len(list) > 0 && err == nil {
		var part []guestmem.Range
		part, list = cut(list, pausePages)
		var n uint64
		n, err = m.giveBack(image, part)
		pages += n
	}
	return pages, err
}

func (m *Machine) giveBack(image guestmem.Image, list []guestmem.Range) (pages uint64, err error) {
	m.life.mu.Lock()
	defer m.life.mu.Unlock()
	if running := !m.life.paused; running {
		if err := m.pause(); err != nil {
			return 0, err
		}
		defer func() {
			if resumeErr := m.resume(); err == nil {
				err = resumeErr
			}
		}()
	}
	return m.mem.GiveBack(image, list)
}

// cut takes the first pages of a list, which it may change.
func cut(list []guestmem.Range, pages uint64) (first, rest []guestmem.Range) {
	for i := range list {
		switch r := &list[i]; {
		case pages == 0:
			return list[:i], list[i:]
		case r.Pages > pages:
			part := guestmem.Range{Page: r.Page, Pages: pages, Written: r.Written}
			r.Page, r.Pages = r.Page+pages, r.Pages-pages
			return append(list[:i:i], part), list[i:]
		default:
			pages -= r.Pages
		}
	}
	return list, nil
}
