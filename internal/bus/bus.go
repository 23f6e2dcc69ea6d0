// Package bus routes a vCPU's port and MMIO accesses to the device behind the address. It knows ranges and handlers,
// nothing of what a device does; ordering and locking are the device's own business.
package bus

import (
	"fmt"
	"slices"
)

// Handler answers accesses within its range; offset counts from the range's start. It is called from vCPU threads,
// several at once.
type Handler interface {
	Read(offset uint64, p []byte)
	Write(offset uint64, p []byte)
}

type span struct {
	start, size uint64
	h           Handler
}

// Bus is one address space: ports or device memory. It is filled before the guest runs and only read afterwards.
type Bus struct{ spans []span }

// Add places a handler at [start, start+size). Ranges must not overlap.
func (b *Bus) Add(start, size uint64, h Handler) error {
	at, _ := slices.BinarySearchFunc(b.spans, start, func(s span, start uint64) int {
		if s.start < start {
			return -1
		}
		return 1
	})
	if at > 0 && b.spans[at-1].start+b.spans[at-1].size > start || at < len(b.spans) && start+size > b.spans[at].start {
		return fmt.Errorf("bus range %#x+%#x overlaps another", start, size)
	}
	b.spans = slices.Insert(b.spans, at, span{start, size, h})
	return nil
}

// Read fills p from the device at addr; where there is none, with ones, as a bus without a driver floats.
func (b *Bus) Read(addr uint64, p []byte) {
	if s := b.find(addr); s != nil {
		s.h.Read(addr-s.start, p)
		return
	}
	for i := range p {
		p[i] = 0xff
	}
}

// Write passes p to the device at addr; where there is none it is lost.
func (b *Bus) Write(addr uint64, p []byte) {
	if s := b.find(addr); s != nil {
		s.h.Write(addr-s.start, p)
	}
}

func (b *Bus) find(addr uint64) *span {
	for i := range b.spans {
		s := &b.spans[i]
		if addr-s.start < s.size {
			return s
		}
	}
	return nil
}
