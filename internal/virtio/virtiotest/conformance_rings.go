package virtiotest

import (
	"fmt"
	"testing"

	"clone/internal/virtio"
)

// malformed are rings that make no sense; each lays one out on a queue that is set up and not started.
var malformed = []struct {
	name     string
	features uint64 // of the ring
	lay      func(d *Driver, queue int)
}{
	{"head out of range", 0, func(d *Driver, q int) {
		d.Offer(q, uint16(d.RingSize(q)), 1)
	}},
	{"available index runs ahead", 0, func(d *Driver, q int) {
		d.Offer(q, 0, uint16(d.RingSize(q)+1))
	}},
	{"available index runs backwards", 0, func(d *Driver, q int) {
		d.Offer(q, 0, 0xffff)
	}},
	{"next out of range", 0, func(d *Driver, q int) {
		d.SetDescriptor(q, 0, d.Out(make([]byte, 16)), DescNext, uint16(d.RingSize(q)))
		d.Offer(q, 0, 1)
	}},
	{"loop", 0, func(d *Driver, q int) {
		b := d.Out(make([]byte, 16))
		d.SetDescriptor(q, 0, b, DescNext, 1)
		d.SetDescriptor(q, 1, b, DescNext, 0)
		d.Offer(q, 0, 1)
	}},
	{"buffer outside RAM", 0, func(d *Driver, q int) {
		d.SetDescriptor(q, 0, Buffer{GPA: d.mem.Size(), Len: 16}, DescWrite, 0)
		d.Offer(q, 0, 1)
	}},
	{"buffer over the end of RAM", 0, func(d *Driver, q int) {
		d.SetDescriptor(q, 0, Buffer{GPA: d.mem.Size() - 8, Len: 16}, 0, 0)
		d.Offer(q, 0, 1)
	}},
	{"buffer around the end of addresses", 0, func(d *Driver, q int) {
		d.SetDescriptor(q, 0, Buffer{GPA: ^uint64(7), Len: 16}, 0, 0)
		d.Offer(q, 0, 1)
	}},
	{"readable after writable", 0, func(d *Driver, q int) {
		d.SetDescriptor(q, 0, d.In(16), DescWrite|DescNext, 1)
		d.SetDescriptor(q, 1, d.Out(make([]byte, 16)), 0, 0)
		d.Offer(q, 0, 1)
	}},
	{"indirect, not negotiated", 0, func(d *Driver, q int) {
		d.SetDescriptor(q, 0, d.Table(d.In(16)), DescIndirect, 0)
		d.Offer(q, 0, 1)
	}},
	{"indirect with next", virtio.FeatureIndirectDesc, func(d *Driver, q int) {
		d.SetDescriptor(q, 0, d.Table(d.In(16)), DescIndirect|DescNext, 1)
		d.Offer(q, 0, 1)
	}},
	{"indirect in indirect", virtio.FeatureIndirectDesc, func(d *Driver, q int) {
		inner := d.Table(d.In(16))
		d.SetDescriptor(q, 0, d.Out(appendDesc(nil, inner, DescIndirect, 0)), DescIndirect, 0)
		d.Offer(q, 0, 1)
	}},
	{"indirect of a broken size", virtio.FeatureIndirectDesc, func(d *Driver, q int) {
		table := d.Table(d.In(16), d.In(16))
		table.Len -= 8
		d.SetDescriptor(q, 0, table, DescIndirect, 0)
		d.Offer(q, 0, 1)
	}},
	{"indirect of size zero", virtio.FeatureIndirectDesc, func(d *Driver, q int) {
		d.SetDescriptor(q, 0, Buffer{GPA: firstFree}, DescIndirect, 0)
		d.Offer(q, 0, 1)
	}},
	{"indirect outside RAM", virtio.FeatureIndirectDesc, func(d *Driver, q int) {
		d.SetDescriptor(q, 0, Buffer{GPA: d.mem.Size(), Len: 16}, DescIndirect, 0)
		d.Offer(q, 0, 1)
	}},
}

// misprogrammed are queue registers that make no sense, written over the right ones of a queue that is not ready.
var misprogrammed = []struct {
	name string
	reg  uint64
	v    uint32
}{
	{"descriptor table misaligned", RegQueueDesc, firstFree + 8},
	{"available ring misaligned", RegQueueDriver, firstFree + 1},
	{"used ring misaligned", RegQueueDevice, firstFree + 2},
	{"descriptor table outside RAM", RegQueueDesc + 4, 1 << 16},
	{"available ring outside RAM", RegQueueDriver + 4, 1 << 16},
	{"used ring outside RAM", RegQueueDevice + 4, 1 << 16},
}

func testMalformedRings(t *testing.T, s *suite) {
	spec := s.device().Spec()
	for q := range spec.QueueSizes {
		for _, c := range malformed {
			t.Run(fmt.Sprintf("queue %d/%s", q, c.name), func(t *testing.T) {
				s := s.with(t)
				d := s.driver()
				d.Setup(spec.Features | c.features)
				c.lay(d, q)
				d.SetDriverOK()
				d.Notify(q)
				if !s.lazy(q) {
					d.WaitNeedsReset()
				}
				d.Notify(q) // nobody serves it any more
				d.Reset()
				d.Start(d.Offered())
				s.work(d)
			})
		}
		for _, c := range misprogrammed {
			t.Run(fmt.Sprintf("queue %d/%s", q, c.name), func(t *testing.T) {
				s := s.with(t)
				d := s.driver()
				d.Setup(spec.Features)
				d.Write(RegQueueSel, uint32(q))
				d.Write(RegQueueReady, 0)
				d.Write(c.reg, c.v)
				d.Write(RegQueueReady, 1)
				d.SetDriverOK()
				d.WaitNeedsReset()
				d.Migrate(s.device()) // a failed session can be saved too
				d.Resume()
				d.WaitNeedsReset()
				d.Reset()
				d.Start(d.Offered())
				s.work(d)
			})
		}
	}
}
