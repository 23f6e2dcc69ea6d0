package virtio

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Descriptor flags (virtio 1.2 §2.7.5).
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4
)

// Chain is one request: the buffers of a descriptor chain as host bytes, those the device reads before those it writes.
type Chain struct {
	Head     uint16   // index of the first descriptor, its name in the used ring
	Readable Segments // driver → device
	Writable Segments // device → driver
}

type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

func parseDescriptor(b []byte) descriptor {
	return descriptor{
		addr:  binary.LittleEndian.Uint64(b),
		len:   binary.LittleEndian.Uint32(b[8:]),
		flags: binary.LittleEndian.Uint16(b[12:]),
		next:  binary.LittleEndian.Uint16(b[14:]),
	}
}

// walk follows the chain from head. Each descriptor is copied before it is looked at; the walk ends after as many
// steps as the table has entries, so a loop is an error, not a hang. A chain has at most 2 × QueueSizeMax segments.
func (q *Queue) walk(head uint16) (*Chain, error) {
	c := &Chain{Head: head}
	table, index := q.desc, head
	indirect := false
	total := uint64(0)
	for steps := 0; ; steps++ {
		entries := len(table) / 16
		if int(index) >= entries {
			return nil, fmt.Errorf("%w: descriptor %d of %d", ErrRing, index, entries)
		}
		if steps == entries {
			return nil, fmt.Errorf("%w: descriptor loop from %d", ErrRing, head)
		}
		d := parseDescriptor(table[16*int(index):])
		if d.flags&descIndirect != 0 {
			// An indirect descriptor is the last of its chain and its table holds no further one (virtio 1.2 §2.7.5.3.1).
			if !q.indirect || indirect || d.flags&descNext != 0 || d.len == 0 || d.len%16 != 0 || d.len > 16*QueueSizeMax {
				return nil, fmt.Errorf("%w: indirect descriptor flags %#x, %d bytes", ErrRing, d.flags, d.len)
			}
			b, err := q.mem.Bytes(d.addr, uint64(d.len))
			if err != nil {
				return nil, fmt.Errorf("%w: indirect table: %w", ErrRing, err)
			}
			table, index, indirect, steps = b, 0, true, -1
			continue
		}
		// A chain is no longer than 2³² bytes (virtio 1.2 §2.7.5.1), and what a used element can say of it is one less.
		if total += uint64(d.len); total > math.MaxUint32 {
			return nil, fmt.Errorf("%w: chain of more than %d bytes", ErrRing, uint32(math.MaxUint32))
		}
		if err := c.add(q, d); err != nil {
			return nil, err
		}
		if d.flags&descNext == 0 {
			return c, nil
		}
		index = d.next
	}
}

func (c *Chain) add(q *Queue, d descriptor) error {
	b, err := q.mem.Bytes(d.addr, uint64(d.len))
	if err != nil {
		return fmt.Errorf("%w: buffer: %w", ErrRing, err)
	}
	switch {
	case d.flags&descWrite != 0:
		c.Writable = append(c.Writable, b)
	case len(c.Writable) > 0:
		// All device-readable descriptors come first (virtio 1.2 §2.7.4.2).
		return fmt.Errorf("%w: readable descriptor after a writable one", ErrRing)
	default:
		c.Readable = append(c.Readable, b)
	}
	return nil
}
