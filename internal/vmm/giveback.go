package vmm

import "clone/internal/guestmem"

// maxOwnPages is with how many pages of its own a machine is left alone (64 MiB): it has other things to do.
const maxOwnPages = 16384

// GiveBack gives up the pages of guest memory that the guest has changed back to what they were in the image, and returns
// their number. It stands still for as long as it takes to look at those once more.
func (m *Machine) GiveBack(image guestmem.Image) (pages uint64, err error) {
	list, err := m.mem.Restored(image, maxOwnPages)
	if err != nil || len(list) == 0 {
		return 0, err
	}
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
