package guestmem

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Mergeable lets the host's KSM merge pages of this memory that are equal to others' (madvise(2) MADV_MERGEABLE). KSM takes
// anonymous pages only: of a mapping over an image, those that the guest has changed. Whether it runs is the host's
// administrator's choice. A kernel without KSM is no error.
func (m *Memory) Mergeable() error {
	for _, r := range m.regions {
		if err := unix.Madvise(r.Host, unix.MADV_MERGEABLE); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("let equal pages be merged: %w", err)
		}
	}
	return nil
}

// HostRanges says where the regions are mapped in this process, as /proc/PID/maps writes it: "7f0000000000-7f0010000000",
// several with a space between them.
func (m *Memory) HostRanges() string {
	var list []string
	for _, r := range m.regions {
		start := address(r.Host)
		list = append(list, fmt.Sprintf("%x-%x", start, start+uint64(len(r.Host))))
	}
	return strings.Join(list, " ")
}
