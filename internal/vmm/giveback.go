package vmm

import (
	"context"

	"clone/internal/guestmem"
)

const (
	// maxOwnPages is with how many pages of its own a machine is left alone (64 MiB): it has other things to do.
	maxOwnPages = 16384
	// GiveBackPages is for how many pages the guest stands still at once: natively that takes a millisecond.
	GiveBackPages = 512
)

// GiveBack gives up pages of guest memory that the guest has changed back to what they were in the image, and returns their
// number. The comparison is that of the machine's memory with it. They are looked for while the guest runs; for a second look,
// and to give them up, it stands still. There may be more of them when GiveBackPages were given up. With a request of the guest
// in flight nothing is done: to pause would be to wait for the host's disk.
func (m *Machine) GiveBack(ctx context.Context, c *guestmem.Comparison) (pages uint64, err error) {
	list, err := c.Restored(ctx, maxOwnPages, GiveBackPages)
	if err != nil || len(list) == 0 || m.busy() {
		return 0, err
	}
	_, err = m.still(func() (err error) {
		pages, err = c.GiveBack(list)
		return err
	})
	return pages, err
}

// busy tells whether a device has a request in flight.
func (m *Machine) busy() bool {
	for _, s := range m.slots {
		if s.Busy() {
			return true
		}
	}
	return false
}
