package virtio

import (
	"errors"
	"testing"
)

// FuzzQueue lays arbitrary bytes over the rings and everything near them. Whatever is in memory, Pop ends, a chain is
// bounded and inside RAM, and at most Size chains come out of one look at the ring.
func FuzzQueue(f *testing.F) {
	loop := encode(descriptor{buffersAt, 8, descNext, 1}, descriptor{buffersAt, 8, descNext, 0})
	chain := encode(descriptor{0x400, 8, descNext, 1}, descriptor{0x440, 8, descWrite | descNext, 2}, descriptor{0x480, 9, descWrite, 0})
	indirect := encode(descriptor{0x20, 32, descIndirect, 0}, descriptor{}, descriptor{0x400, 8, descNext, 1}, descriptor{0x440, 8, descWrite, 2})
	for _, table := range [][]byte{nil, loop, chain, indirect} {
		for log := range byte(4) {
			f.Add(table, []byte{0, 0, 1, 0, 0, 0}, log, uint64(0), uint16(0))
			f.Add(table, []byte{0, 0, 2, 0, 0, 0, 1, 0}, log, ^uint64(0), uint16(65535))
		}
	}
	f.Fuzz(func(t *testing.T, table, avail []byte, log byte, features uint64, start uint16) {
		const ram, at = 64 << 10, 0x2000
		mem := newMemory(t, ram)
		size := uint16(1) << (log % 8)
		_ = mem.WriteAt(table[:min(len(table), at)], 0)
		_ = mem.WriteAt(avail[:min(len(avail), at)], at)
		q, err := NewQueue(QueueState{Size: size, Ready: true, Avail: at, Used: 2 * at, NextAvail: start, NextUsed: start},
			QueueWiring{Memory: mem, Features: features, Kick: newKick(t), Interrupt: func() {}})
		if err != nil {
			t.Fatal(err)
		}
		for popped := 0; ; popped++ {
			c, err := q.Pop()
			if err != nil {
				if !errors.Is(err, ErrRing) {
					t.Fatalf("error does not wrap ErrRing: %v", err)
				}
				break
			}
			if c == nil {
				break
			}
			if popped == int(size) {
				t.Fatalf("more than %d chains in a ring of that size", size)
			}
			checkChain(t, c, size, ram)
			q.Push(c, uint32(min(c.Writable.Len(), 1)))
			q.Notify()
		}
		q.DisableKicks()
		q.EnableKicks()
	})
}

func checkChain(t *testing.T, c *Chain, size uint16, ram int) {
	t.Helper()
	if c.Head >= size {
		t.Fatalf("head %d in a table of %d", c.Head, size)
	}
	if n := len(c.Readable) + len(c.Writable); n > int(size)+QueueSizeMax {
		t.Fatalf("chain of %d segments", n)
	}
	if n := c.Readable.Len() + c.Writable.Len(); n > 1<<32-1 {
		t.Fatalf("chain of %d bytes", n)
	}
	for _, s := range [...]Segments{c.Readable, c.Writable} {
		for _, seg := range s {
			if len(seg) > ram {
				t.Fatalf("segment of %d bytes", len(seg))
			}
			if len(seg) > 0 {
				_ = seg[0] + seg[len(seg)-1] // a fault where it is not in RAM
			}
		}
	}
}
