package legacy

import (
	"encoding/binary"
	"sync"
)

// HostClock shows the guest the host's clocks, so that the two can be compared however busy the host is: the guest reads its
// own clock, the device and its own clock again, and nobody else has to get the processor in between. It is a device of ours:
// a page of read-only registers in memory at x86.HostClockAddr. A read of the first takes the time; both show what was taken,
// little-endian: the wall clock, nanoseconds since 1970 (offset 0, 8 bytes), and the guest's kvmclock as the host knows it,
// nanoseconds (offset 8, 8 bytes). The rest of the page reads zero.
//
// It has no state to be saved: in a fork nothing was taken yet, and both registers are zero.
type HostClock struct {
	now func() (wall, kvmclock int64)

	mu    sync.Mutex
	taken [16]byte
}

// The registers.
const (
	HostClockWall     = 0
	HostClockKVMClock = 8
)

// NewHostClock returns the device. now reads both clocks, on the vCPU thread, and returns zeros if it cannot.
func NewHostClock(now func() (wall, kvmclock int64)) *HostClock { return &HostClock{now: now} }

// Read implements bus.Handler.
func (c *HostClock) Read(offset uint64, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if offset == HostClockWall {
		wall, kvmclock := c.now()
		binary.LittleEndian.PutUint64(c.taken[HostClockWall:], uint64(wall))
		binary.LittleEndian.PutUint64(c.taken[HostClockKVMClock:], uint64(kvmclock))
	}
	clear(p)
	copy(p, c.taken[min(offset, uint64(len(c.taken))):])
}

// Write is ignored.
func (c *HostClock) Write(uint64, []byte) {}
