package legacy

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestHostClock(t *testing.T) {
	var taken int64
	c := NewHostClock(func() (int64, int64) { taken++; return 1<<60 + taken, 1<<40 + taken })
	read := func(offset uint64, n int) []byte {
		p := bytes.Repeat([]byte{0xff}, n)
		c.Read(offset, p)
		return p
	}
	if b := read(8, 8); binary.LittleEndian.Uint64(b) != 0 {
		t.Errorf("before anything was taken: %x", b)
	}
	for n := int64(1); n < 300; n += 99 {
		for ; taken < n; read(0, 1) {
		}
		c.Write(0, []byte{1, 2, 3, 4}) // changes nothing
		b := append(binary.LittleEndian.AppendUint64(nil, uint64(1<<60+n))[:1], append(read(1, 7), read(8, 8)...)...)
		wall, kvmclock := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		if wall != uint64(1<<60+n) || kvmclock != uint64(1<<40+n) {
			t.Errorf("reading %d: %#x and %#x", n, wall, kvmclock)
		}
	}
	if b := read(0, 8); binary.LittleEndian.Uint64(b) != uint64(1<<60+taken) {
		t.Errorf("eight bytes at once: %x, want %x", b, 1<<60+taken)
	}
	for _, offset := range []uint64{16, 4095, 1 << 63} {
		if b := read(offset, 4); binary.LittleEndian.Uint32(b) != 0 {
			t.Errorf("at %#x: %x", offset, b)
		}
	}
	if b := read(15, 4); b[1] != 0 || b[3] != 0 {
		t.Errorf("across the end: %x", b)
	}
}
