package mmio_test

import (
	"bytes"
	"testing"

	"clone/internal/virtio"
	"clone/internal/virtio/mmio"
	"clone/internal/virtio/virtiotest"
)

func TestEmptySlot(t *testing.T) {
	s := newSlot(t, nil)
	for reg := uint64(0); reg < 0x200; reg += 4 {
		write(s, reg, 0xffffffff)
	}
	for reg := uint64(0); reg < 0x200; reg += 4 {
		want := map[uint64]uint32{0: 0x74726976, 4: 2}[reg]
		if got := read(s, reg); got != want {
			t.Errorf("register %#x of an empty slot reads %#x, want %#x", reg, got, want)
		}
	}
	if s.Device() != nil || s.Kicks() != nil {
		t.Error("an empty slot has a device or events")
	}
	s.Pause()
	if err := s.Resume(); err != nil {
		t.Error(err)
	}
}

func TestIdentity(t *testing.T) {
	s := newSlot(t, virtiotest.NewEcho())
	for reg, want := range map[uint64]uint32{
		0x00: 0x74726976, 0x04: 2, 0x08: virtiotest.EchoType, 0x0c: 0x4e4f4c43, 0x34: 16, 0x44: 0, 0x60: 0, 0x70: 0,
		0xb0: 0xffffffff, 0xb4: 0xffffffff, 0xb8: 0xffffffff, 0xbc: 0xffffffff, // no shared memory region
		0xc0: 0, 0xfc: 0,
		0x20: 0, 0x38: 0, 0x50: 0, 0x64: 0, 0x80: 0, // write-only
	} {
		if got := read(s, reg); got != want {
			t.Errorf("register %#x reads %#x, want %#x", reg, got, want)
		}
	}
	for sel, want := range map[uint32]uint32{0: 1 | 1<<28 | 1<<29, 1: 1, 2: 0, 32: 0, 0xffffffff: 0} {
		write(s, 0x14, sel)
		if got := read(s, 0x10); got != want {
			t.Errorf("feature word %d reads %#x, want %#x", sel, got, want)
		}
	}
	for sel, want := range map[uint32]uint32{0: 16, 1: 8, 2: 0, 0xffffffff: 0} {
		write(s, 0x30, sel)
		if got := read(s, 0x34); got != want {
			t.Errorf("QueueNumMax of queue %d reads %d, want %d", sel, got, want)
		}
	}
}

// TestAccess checks which widths and alignments are honoured, and that nothing is left in the reader's buffer.
func TestAccess(t *testing.T) {
	s := newSlot(t, virtiotest.NewEcho())
	for offset := range uint64(0x110) {
		for width := range 10 {
			p := bytes.Repeat([]byte{0xee}, width)
			s.Read(offset, p)
			if bytes.Contains(p, []byte{0xee}) {
				t.Fatalf("read of %d at %#x leaves % x", width, offset, p)
			}
			if register := width == 4 && offset%4 == 0 && offset < 0x100; !register && !bytes.Equal(p, make([]byte, width)) {
				t.Fatalf("read of %d at %#x gives % x", width, offset, p)
			}
			if width != 4 && offset == 0x70 {
				s.Write(offset, bytes.Repeat([]byte{1}, width))
			}
		}
	}
	s.Write(0x6e, []byte{1, 0, 1, 0})
	if got := read(s, 0x70); got != 0 {
		t.Errorf("status %#x after writes that are not honoured", got)
	}
	s.Write(0x100, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	s.Write(0x101, []byte{0xa})
	s.Write(0x102, []byte{0xb, 0xc})
	s.Write(0x104, []byte{0xd, 0xe, 0xf, 0x10})
	s.Write(0x100, []byte{9, 9, 9})
	s.Write(1<<63, []byte{9, 9})
	p := make([]byte, 8)
	if s.Read(0x100, p); !bytes.Equal(p, []byte{1, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0x10}) {
		t.Errorf("config reads % x", p)
	}
	p = []byte{1, 1}
	if s.Read(1<<63, p); p[0]|p[1] != 0 {
		t.Errorf("config at 2⁶³ reads % x", p)
	}
}

func TestNegotiationRules(t *testing.T) {
	const version1 = virtio.FeatureVersion1
	for _, c := range []struct {
		name     string
		features uint64
		ok       bool
	}{
		{"least", version1, true},
		{"all", version1 | virtio.RingFeatures | 1, true},
		{"legacy", 1, false},
		{"none", 0, false},
		{"device bit not offered", version1 | 2, false},
		{"ring reset, not offered", version1 | 1<<40, false},
	} {
		d := virtiotest.NewDriver(t, virtiotest.NewEcho())
		if got := d.Negotiate(c.features); got != c.ok {
			t.Errorf("%s: features %#x accepted: %v", c.name, c.features, got)
		}
		if c.ok {
			// What was agreed upon cannot be changed behind the device's back.
			d.Write(virtiotest.RegDriverFeaturesSel, 0)
			d.Write(virtiotest.RegDriverFeatures, 0xffffffff)
			d.Pause()
			if st, err := d.Slot().Save(); err != nil || st.DriverFeatures != c.features {
				t.Errorf("%s: features %#x after FEATURES_OK, %v", c.name, st.DriverFeatures, err)
			}
		} else {
			d.SetDriverOK()
			if d.Status()&virtiotest.StatusDriverOK != 0 {
				t.Errorf("%s: DRIVER_OK without FEATURES_OK", c.name)
			}
		}
	}
}

func TestStatusBits(t *testing.T) {
	s := newSlot(t, virtiotest.NewEcho())
	write(s, 0x70, 1)
	write(s, 0x70, 2) // bits are not taken away but by reset
	if got := read(s, 0x70); got != 3 {
		t.Errorf("status %#x, want 3", got)
	}
	write(s, 0x70, 0xffffff40) // not the driver's bits, but for FAILED
	if got := read(s, 0x70); got != 3 {
		t.Errorf("status %#x, want 3", got)
	}
	write(s, 0x70, 0x80)
	if got := read(s, 0x70); got != 0x83 {
		t.Errorf("status %#x, want 0x83", got)
	}
	write(s, 0x70, 0)
	if got := read(s, 0x70); got != 0 {
		t.Errorf("status %#x after reset", got)
	}
}

// TestQueueRegistersAreFixed checks when the registers of a queue can be written.
func TestQueueRegistersAreFixed(t *testing.T) {
	d := virtiotest.NewDriver(t, virtiotest.NewEcho())
	programs := func() mmio.State {
		d.Pause()
		st, err := d.Slot().Save()
		if err != nil {
			t.Fatal(err)
		}
		d.Resume()
		return st
	}
	scribble := func() {
		for _, reg := range []uint64{0x38, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4} {
			d.Write(reg, 8)
		}
	}
	d.Setup(d.Offered())
	d.Write(virtiotest.RegQueueSel, 0)
	before := programs().Queues[0]
	scribble()
	if after := programs().Queues[0]; after != before {
		t.Errorf("registers of a ready queue changed: %+v, %+v", before, after)
	}
	d.Go()
	d.Write(virtiotest.RegQueueReady, 0)
	if d.Read(virtiotest.RegQueueReady) != 1 {
		t.Error("a queue is taken away while the device runs")
	}
	scribble()
	if after := programs().Queues[0]; after != before {
		t.Errorf("registers changed after DRIVER_OK: %+v, %+v", before, after)
	}
	echo(t, d)
	d.Reset()
	if after := programs().Queues[0]; after != (virtio.QueueState{}) {
		t.Errorf("registers after reset: %+v", after)
	}
	for _, c := range []struct {
		v    uint32
		want uint16
	}{{4, 4}, {3, 4}, {0, 4}, {32, 4}, {1 << 16, 4}, {1<<16 | 8, 4}, {16, 16}} {
		d.Write(virtiotest.RegQueueNum, c.v)
		if got := programs().Queues[0].Size; got != c.want {
			t.Errorf("queue size %d after write of %d, want %d", got, c.v, c.want)
		}
	}
	scribble()
	if got, want := programs().Queues[0], (virtio.QueueState{Size: 8, Desc: 8<<32 | 8, Avail: 8<<32 | 8, Used: 8<<32 | 8}); got != want {
		t.Errorf("queue programmed with %+v, want %+v", got, want)
	}
	d.Write(virtiotest.RegQueueSel, 2)
	d.Write(virtiotest.RegQueueReady, 1)
	if d.Read(virtiotest.RegQueueReady) != 0 {
		t.Error("a queue that does not exist becomes ready")
	}
}

func TestPlugRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		spec virtio.Spec
	}{
		{"no type", virtio.Spec{QueueSizes: []uint16{8}}},
		{"ring feature", virtio.Spec{Type: 1, Features: virtio.FeatureEventIdx, QueueSizes: []uint16{8}}},
		{"queue size 0", virtio.Spec{Type: 1, QueueSizes: []uint16{8, 0}}},
		{"queue size 12", virtio.Spec{Type: 1, QueueSizes: []uint16{12}}},
		{"queue size 2048", virtio.Spec{Type: 1, QueueSizes: []uint16{2 * virtio.QueueSizeMax}}},
	} {
		s := newSlot(t, nil)
		if err := s.Plug(specced{virtiotest.NewEcho(), c.spec}); err == nil || s.Device() != nil {
			t.Errorf("%s: plugged", c.name)
		}
	}
	s := newSlot(t, virtiotest.NewEcho())
	if err := s.Plug(virtiotest.NewEcho()); err == nil {
		t.Error("plugged into a full slot")
	}
}

type specced struct {
	*virtiotest.Echo
	spec virtio.Spec
}

func (s specced) Spec() virtio.Spec { return s.spec }
