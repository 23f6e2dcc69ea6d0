package bus

import "testing"

type recorder struct {
	offset uint64
	wrote  []byte
}

func (r *recorder) Read(offset uint64, p []byte)  { r.offset = offset; p[0] = 0x42 }
func (r *recorder) Write(offset uint64, p []byte) { r.offset = offset; r.wrote = p }

func TestRouting(t *testing.T) {
	var b Bus
	low, high := &recorder{}, &recorder{}
	for _, add := range []struct {
		start uint64
		h     Handler
	}{{0x100, high}, {0x10, low}} {
		if err := b.Add(add.start, 0x10, add.h); err != nil {
			t.Fatal(err)
		}
	}
	p := []byte{0}
	b.Read(0x1f, p)
	if p[0] != 0x42 || low.offset != 0xf {
		t.Errorf("read at 0x1f gave %#x at offset %#x", p[0], low.offset)
	}
	b.Write(0x100, []byte{7})
	if high.offset != 0 || len(high.wrote) != 1 {
		t.Errorf("write at 0x100 arrived as offset %#x, %v", high.offset, high.wrote)
	}
	for _, addr := range []uint64{0, 0xf, 0x20, 0xff, 0x110, ^uint64(0)} {
		p[0] = 0
		if b.Read(addr, p); p[0] != 0xff {
			t.Errorf("read at %#x, where nothing is, gave %#x", addr, p[0])
		}
		b.Write(addr, p)
	}
}

func TestOverlapIsRefused(t *testing.T) {
	var b Bus
	if err := b.Add(0x100, 0x10, &recorder{}); err != nil {
		t.Fatal(err)
	}
	for _, start := range []uint64{0xf1, 0x100, 0x10f} {
		if b.Add(start, 0x10, &recorder{}) == nil {
			t.Errorf("range at %#x overlaps and was taken", start)
		}
	}
	for _, start := range []uint64{0xf0, 0x110} {
		if err := b.Add(start, 0x10, &recorder{}); err != nil {
			t.Error(err)
		}
	}
}
