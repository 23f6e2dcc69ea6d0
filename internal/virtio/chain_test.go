package virtio

import (
	"errors"
	"fmt"
	"testing"

	"clone/internal/guestmem"
)

// lengths is what a chain looks like to a device: the lengths of its segments.
func lengths(c *Chain) string {
	f := func(s Segments) []int {
		ns := []int{}
		for _, seg := range s {
			ns = append(ns, len(seg))
		}
		return ns
	}
	return fmt.Sprint(f(c.Readable), f(c.Writable))
}

func TestChains(t *testing.T) {
	const b = buffersAt
	indirect := func(n uint32) descriptor { return descriptor{tableAt, 16 * n, descIndirect, 0} }
	many := make([]descriptor, QueueSizeMax+1)
	for i := range many {
		many[i] = descriptor{b, 1, descNext, uint16(i + 1)}
	}
	for _, c := range []struct {
		name     string
		features uint64
		direct   []descriptor
		indirect []descriptor // at tableAt
		want     string       // "" where the chain is refused
	}{
		{"one readable", 0, []descriptor{{b, 7, 0, 0}}, nil, "[7] []"},
		{"one writable", 0, []descriptor{{b, 7, descWrite, 0}}, nil, "[] [7]"},
		{"read, read, write, write", 0, []descriptor{{b, 1, descNext, 3}, {b, 4, descWrite, 9}, {b, 3, descWrite | descNext, 1},
			{b, 2, descNext, 2}}, nil, "[1 2] [3 4]"},
		{"next without its flag is not looked at", 0, []descriptor{{b, 1, 0, 99}}, nil, "[1] []"},
		{"empty buffer", 0, []descriptor{{b, 0, 0, 0}}, nil, "[0] []"},
		{"last byte of RAM", 0, []descriptor{{testRAM - 1, 1, 0, 0}}, nil, "[1] []"},
		{"as long as the table", 0, []descriptor{{b, 1, descNext, 1}, {b, 1, descNext, 2}, {b, 1, descNext, 3}, {b, 1, descNext, 4},
			{b, 1, descNext, 5}, {b, 1, descNext, 6}, {b, 1, descNext, 7}, {b, 1, 0, 0}}, nil, "[1 1 1 1 1 1 1 1] []"},

		{"next out of range", 0, []descriptor{{b, 1, descNext, 8}}, nil, ""},
		{"loop to itself", 0, []descriptor{{b, 1, descNext, 0}}, nil, ""},
		{"loop of two", 0, []descriptor{{b, 1, descNext, 1}, {b, 1, descNext, 0}}, nil, ""},
		{"readable after writable", 0, []descriptor{{b, 1, descNext | descWrite, 1}, {b, 1, 0, 0}}, nil, ""},
		{"behind RAM", 0, []descriptor{{testRAM, 1, 0, 0}}, nil, ""},
		{"over the end of RAM", 0, []descriptor{{testRAM - 1, 2, 0, 0}}, nil, ""},
		{"around the end of addresses", 0, []descriptor{{^uint64(0), 2, 0, 0}}, nil, ""},
		{"longest length", 0, []descriptor{{0, ^uint32(0), 0, 0}}, nil, ""},

		{"indirect", FeatureIndirectDesc, []descriptor{indirect(3)},
			[]descriptor{{b, 1, descNext, 2}, {b, 3, descWrite, 0}, {b, 2, descNext, 1}}, "[1 2] [3]"},
		{"indirect with the write flag, which is ignored", FeatureIndirectDesc,
			[]descriptor{{tableAt, 16, descIndirect | descWrite, 0}}, []descriptor{{b, 5, 0, 0}}, "[5] []"},
		{"indirect after direct", FeatureIndirectDesc, []descriptor{{b, 1, descNext, 1}, indirect(1)},
			[]descriptor{{b, 2, descWrite, 0}}, "[1] [2]"},
		{"indirect longer than the queue", FeatureIndirectDesc, []descriptor{indirect(9)}, append(append([]descriptor{},
			many[:8]...), descriptor{b, 2, 0, 0}), "[1 1 1 1 1 1 1 1 2] []"},
		{"indirect without the feature", 0, []descriptor{indirect(1)}, []descriptor{{b, 5, 0, 0}}, ""},
		{"indirect with next", FeatureIndirectDesc, []descriptor{{tableAt, 16, descIndirect | descNext, 1}, {b, 1, 0, 0}},
			[]descriptor{{b, 5, 0, 0}}, ""},
		{"indirect in indirect", FeatureIndirectDesc, []descriptor{indirect(1)}, []descriptor{indirect(1)}, ""},
		{"indirect of zero bytes", FeatureIndirectDesc, []descriptor{indirect(0)}, nil, ""},
		{"indirect of part of an entry", FeatureIndirectDesc, []descriptor{{tableAt, 24, descIndirect, 0}},
			[]descriptor{{b, 5, 0, 0}}, ""},
		{"indirect too long", FeatureIndirectDesc, []descriptor{indirect(QueueSizeMax + 1)},
			append(many[:QueueSizeMax:QueueSizeMax], descriptor{b, 1, 0, 0}), ""},
		{"indirect behind RAM", FeatureIndirectDesc, []descriptor{{testRAM, 16, descIndirect, 0}}, nil, ""},
		{"indirect next out of range", FeatureIndirectDesc, []descriptor{indirect(1)}, []descriptor{{b, 5, descNext, 1}}, ""},
		{"indirect loop", FeatureIndirectDesc, []descriptor{indirect(2)},
			[]descriptor{{b, 1, descNext, 1}, {b, 1, descNext, 0}}, ""},
		{"indirect readable after direct writable", FeatureIndirectDesc, []descriptor{{b, 1, descNext | descWrite, 1}, indirect(1)},
			[]descriptor{{b, 2, 0, 0}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRing(t, 8, c.features, 0)
			r.descs(c.direct...)
			r.write(tableAt, encode(c.indirect...))
			r.offer(0)
			chain, err := r.q.Pop()
			if c.want == "" {
				if !errors.Is(err, ErrRing) {
					t.Fatalf("pop: %v, %v; want an error that wraps ErrRing", chain, err)
				}
				if r.q.NextAvail != 0 {
					t.Error("a chain that was refused counts as popped")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := lengths(chain); got != c.want {
				t.Errorf("chain %s, want %s", got, c.want)
			}
		})
	}
}

// TestChainLength checks that the lengths of a chain cannot add up beyond what a used element can tell.
func TestChainLength(t *testing.T) {
	const size = 1 << 30
	for _, c := range []struct {
		last uint32
		ok   bool
	}{{size - 1, true}, {size, false}} {
		mem := newMemory(t, size)
		if err := mem.WriteAt(encode(descriptor{0, size, descNext, 1}, descriptor{0, size, descNext, 2},
			descriptor{0, size, descNext | descWrite, 3}, descriptor{0, c.last, descWrite, 0}), descAt); err != nil {
			t.Fatal(err)
		}
		q, err := NewQueue(QueueState{Size: 4, Ready: true, Desc: descAt, Avail: availAt, Used: usedAt},
			QueueWiring{Memory: mem, Kick: newKick(t), Interrupt: func() {}})
		if err != nil {
			t.Fatal(err)
		}
		q.availIdx.Store(1)
		chain, err := q.Pop()
		if c.ok && (err != nil || chain.Readable.Len()+chain.Writable.Len() != 4*size-1) {
			t.Errorf("chain of 4 GiB - 1: %v", err)
		}
		if !c.ok && !errors.Is(err, ErrRing) {
			t.Errorf("chain of 4 GiB: %v", err)
		}
	}
}

// TestHole checks that a buffer reaches neither into the device hole nor over it, and that RAM above is RAM.
func TestHole(t *testing.T) {
	mem := newMemory(t, guestmem.HoleStart+testRAM)
	for _, c := range []struct {
		name string
		d    descriptor
		ok   bool
	}{
		{"up to the hole", descriptor{guestmem.HoleStart - 16, 16, 0, 0}, true},
		{"into the hole", descriptor{guestmem.HoleStart - 16, 17, 0, 0}, false},
		{"over the hole", descriptor{guestmem.HoleStart - 16, 1<<30 + 32, 0, 0}, false},
		{"in the hole", descriptor{guestmem.HoleStart, 1, 0, 0}, false},
		{"out of the hole", descriptor{guestmem.HoleEnd - 1, 2, 0, 0}, false},
		{"above the hole", descriptor{guestmem.HoleEnd, testRAM, 0, 0}, true},
		{"behind RAM above the hole", descriptor{guestmem.HoleEnd, testRAM + 1, 0, 0}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := mem.WriteAt(encode(c.d), descAt); err != nil {
				t.Fatal(err)
			}
			q, err := NewQueue(QueueState{Size: 4, Ready: true, Desc: descAt, Avail: availAt, Used: usedAt},
				QueueWiring{Memory: mem, Kick: newKick(t), Interrupt: func() {}})
			if err != nil {
				t.Fatal(err)
			}
			q.availIdx.Store(1)
			if _, err := q.Pop(); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrRing) {
				t.Errorf("pop: %v", err)
			}
		})
	}
}
