package blk

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"clone/internal/virtio"
)

const testSectors = 2048

func header(kind uint32, sector uint64) []byte {
	b := make([]byte, headerSize)
	binary.LittleEndian.PutUint32(b, kind)
	binary.LittleEndian.PutUint64(b[8:], sector)
	return b
}

func wireRange(sector uint64, count, flags uint32) []byte {
	b := make([]byte, rangeSize)
	binary.LittleEndian.PutUint64(b, sector)
	binary.LittleEndian.PutUint32(b[8:], count)
	binary.LittleEndian.PutUint32(b[12:], flags)
	return b
}

func cat(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// split cuts b into pieces of the given length, the last one shorter.
func split(b []byte, length int) virtio.Segments {
	var s virtio.Segments
	for len(b) > 0 {
		n := min(length, len(b))
		s, b = append(s, b[:n]), b[n:]
	}
	return s
}

func TestParse(t *testing.T) {
	const last = testSectors - 1
	readable, readOnly := make([]byte, 1024), geometry{testSectors * sectorSize, true}
	writable := geometry{testSectors * sectorSize, false}
	for _, c := range []struct {
		name     string
		geometry geometry
		out      []byte // what the device reads
		in       int    // bytes it can write, the status included
		refuse   byte
		want     request // kind, offset, ranges; data by its length
		data     int
	}{
		{"read", writable, header(typeIn, 3), 1025, statusOK, request{kind: typeIn, offset: 1536}, 1024},
		{"read the last sector", readOnly, header(typeIn, last), 513, statusOK, request{kind: typeIn, offset: last * 512}, 512},
		{"read nothing", writable, header(typeIn, 0), 1, statusOK, request{kind: typeIn}, 0},
		{"read past the end", writable, header(typeIn, last), 1025, statusIOErr, request{kind: typeIn}, 0},
		{"read from the end", writable, header(typeIn, testSectors), 513, statusIOErr, request{kind: typeIn}, 0},
		{"sector × 512 overflows", writable, header(typeIn, 1<<55), 513, statusIOErr, request{kind: typeIn}, 0},
		{"sector + count overflows", writable, header(typeIn, 1<<64-1), 1025, statusIOErr, request{kind: typeIn}, 0},
		{"read part of a sector", writable, header(typeIn, 0), 512, statusIOErr, request{kind: typeIn}, 0},
		{"write", writable, cat(header(typeOut, 1), readable), 1, statusOK, request{kind: typeOut, offset: 512}, 1024},
		{"write past the end", writable, cat(header(typeOut, last), readable), 1, statusIOErr, request{kind: typeOut}, 0},
		{"write part of a sector", writable, cat(header(typeOut, 1), readable[:100]), 1, statusIOErr, request{kind: typeOut}, 0},
		{"write to a read-only disk", readOnly, cat(header(typeOut, 1), readable), 1, statusIOErr, request{kind: typeOut}, 0},
		{"flush", writable, header(typeFlush, 0), 1, statusOK, request{kind: typeFlush}, 0},
		{"flush of a read-only disk", readOnly, header(typeFlush, 0), 1, statusOK, request{kind: typeFlush}, 0},
		{"serial", writable, header(typeGetID, 0), 21, statusOK, request{kind: typeGetID}, 20},
		{"serial, small buffer", writable, header(typeGetID, 0), 6, statusOK, request{kind: typeGetID}, 5},
		{"serial, large buffer", writable, header(typeGetID, 0), 100, statusOK, request{kind: typeGetID}, 20},
		{"discard", writable, cat(header(typeDiscard, 0), wireRange(8, 16, 0), wireRange(last, 1, 0)), 1, statusOK,
			request{kind: typeDiscard, ranges: []byteRange{{4096, 8192, false}, {last * 512, 512, false}}}, 0},
		{"discard with unmap", writable, cat(header(typeDiscard, 0), wireRange(8, 16, flagUnmap)), 1, statusUnsupp, request{kind: typeDiscard}, 0},
		{"discard past the end", writable, cat(header(typeDiscard, 0), wireRange(0, 8, 0), wireRange(last, 2, 0)), 1, statusIOErr, request{kind: typeDiscard}, 0},
		{"discard overflows", writable, cat(header(typeDiscard, 0), wireRange(1<<64-1, 2, 0)), 1, statusIOErr, request{kind: typeDiscard}, 0},
		{"discard of no range", writable, header(typeDiscard, 0), 1, statusIOErr, request{kind: typeDiscard}, 0},
		{"discard of half a range", writable, cat(header(typeDiscard, 0), wireRange(8, 16, 0)[:8]), 1, statusIOErr, request{kind: typeDiscard}, 0},
		{"discard of many ranges", writable, cat(header(typeDiscard, 0), make([]byte, (maxDiscardSegments+1)*rangeSize)), 1, statusIOErr, request{kind: typeDiscard}, 0},
		{"discard on a read-only disk", readOnly, cat(header(typeDiscard, 0), wireRange(8, 16, 0)), 1, statusIOErr, request{kind: typeDiscard}, 0},
		{"write zeroes", writable, cat(header(typeWriteZeroes, 0), wireRange(0, 1, 0)), 1, statusOK,
			request{kind: typeWriteZeroes, ranges: []byteRange{{0, 512, false}}}, 0},
		{"write zeroes with unmap", writable, cat(header(typeWriteZeroes, 0), wireRange(0, 1, flagUnmap)), 1, statusOK,
			request{kind: typeWriteZeroes, ranges: []byteRange{{0, 512, true}}}, 0},
		{"write zeroes with unknown flags", writable, cat(header(typeWriteZeroes, 0), wireRange(0, 1, 2)), 1, statusUnsupp, request{kind: typeWriteZeroes}, 0},
		{"write zeroes to two ranges", writable, cat(header(typeWriteZeroes, 0), wireRange(0, 1, 0), wireRange(1, 1, 0)), 1, statusIOErr, request{kind: typeWriteZeroes}, 0},
		{"write zeroes to a read-only disk", readOnly, cat(header(typeWriteZeroes, 0), wireRange(0, 1, 0)), 1, statusIOErr, request{kind: typeWriteZeroes}, 0},
		{"unknown type", writable, header(99, 0), 1, statusUnsupp, request{kind: 99}, 0},
		{"short header", writable, header(typeIn, 0)[:15], 513, statusIOErr, request{}, 0},
		{"no header", writable, nil, 513, statusIOErr, request{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, piece := range []int{1, 7, 16, 512, 1 << 20} {
				in := make([]byte, c.in)
				r, err := parse(&virtio.Chain{Readable: split(c.out, piece), Writable: split(in, piece)}, c.geometry)
				if err != nil {
					t.Fatal(err)
				}
				if r.refuse != c.refuse || r.kind != c.want.kind || r.offset != c.want.offset ||
					!reflect.DeepEqual(r.ranges, c.want.ranges) || r.data.Len() != c.data {
					t.Errorf("pieces of %d: %+v, %d bytes of data", piece, r, r.data.Len())
				}
				if len(r.status) != 1 || &r.status[0] != &in[c.in-1] || r.written != uint32(c.in) {
					t.Errorf("pieces of %d: the status is not the last byte, or %d is not the used length", piece, r.written)
				}
			}
		})
	}
}

func TestParseWithoutStatus(t *testing.T) {
	for _, writable := range []virtio.Segments{nil, {nil}, {{}, {}}} {
		_, err := parse(&virtio.Chain{Readable: virtio.Segments{header(typeFlush, 0)}, Writable: writable}, geometry{512, false})
		if !errors.Is(err, errNoStatus) {
			t.Errorf("%v: %v", writable, err)
		}
	}
}

// TestParseHugeRequest has descriptors that name the same guest memory many times over: what is asked for is bounded
// although the disk would have it.
func TestParseHugeRequest(t *testing.T) {
	shared := make([]byte, sizeMax)
	g := geometry{1 << 40, false}
	for count, refuse := range map[int]byte{segMax: statusOK, segMax + 1: statusIOErr} {
		var data virtio.Segments
		for range count {
			data = append(data, shared)
		}
		in := virtio.Chain{Readable: virtio.Segments{header(typeIn, 0)}, Writable: append(data[:count:count], make([]byte, 1))}
		out := virtio.Chain{Readable: append(virtio.Segments{header(typeOut, 0)}, data...), Writable: virtio.Segments{make([]byte, 1)}}
		for _, c := range []*virtio.Chain{&in, &out} {
			if r, err := parse(c, g); err != nil || r.refuse != refuse {
				t.Errorf("%d MiB: refused with %d, want %d (%v)", count, r.refuse, refuse, err)
			}
		}
	}
}

// FuzzParse: whatever is in a chain and however it is cut, what comes out is inside the disk and the bounds, and does
// not depend on the cuts.
func FuzzParse(f *testing.F) {
	f.Add(header(typeIn, 1), uint16(1025), uint16(16), uint16(2048), false)
	f.Add(cat(header(typeOut, 0), make([]byte, 512)), uint16(1), uint16(100), uint16(1), false)
	f.Add(cat(header(typeOut, 0), make([]byte, 512)), uint16(1), uint16(5), uint16(1), true)
	f.Add(header(typeGetID, 0), uint16(21), uint16(3), uint16(8), false)
	f.Add(header(typeFlush, 1<<63), uint16(1), uint16(16), uint16(8), true)
	f.Add(cat(header(typeDiscard, 0), wireRange(1, 7, 0)), uint16(1), uint16(9), uint16(8), false)
	f.Add(cat(header(typeWriteZeroes, 0), wireRange(1, 7, 1)), uint16(1), uint16(32), uint16(8), false)
	f.Add(cat(header(typeWriteZeroes, 0), wireRange(1<<64-1, 1<<32-1, 1)), uint16(1), uint16(32), uint16(8), false)
	f.Add([]byte{}, uint16(0), uint16(0), uint16(0), false)
	f.Fuzz(func(t *testing.T, out []byte, in, piece, sectors uint16, readOnly bool) {
		g := geometry{size: int64(sectors) * sectorSize, readOnly: readOnly}
		buf := make([]byte, in)
		whole, err := parse(&virtio.Chain{Readable: split(out, 1<<20), Writable: split(buf, 1<<20)}, g)
		if (err != nil) != (in == 0) {
			t.Fatalf("%d writable bytes: %v", in, err)
		}
		if err != nil {
			return
		}
		if len(whole.status) != 1 || &whole.status[0] != &buf[in-1] {
			t.Fatal("the status is not the last byte")
		}
		if whole.refuse != statusOK && (len(whole.data) > 0 || len(whole.ranges) > 0) {
			t.Fatal("a refused request has something to execute")
		}
		changes := whole.kind == typeOut || whole.kind == typeDiscard || whole.kind == typeWriteZeroes
		if readOnly && changes && whole.refuse == statusOK {
			t.Fatal("a change of a read-only disk was accepted")
		}
		n := int64(whole.data.Len())
		if whole.offset < 0 || whole.kind != typeGetID && (n%sectorSize != 0 || whole.offset+n > g.size) {
			t.Fatalf("%d bytes at %d of %d", n, whole.offset, g.size)
		}
		for _, b := range whole.ranges {
			if b.offset < 0 || b.length < 0 || b.offset+b.length > g.size {
				t.Fatalf("range %+v of %d", b, g.size)
			}
		}
		cut, err := parse(&virtio.Chain{Readable: split(out, int(piece)+1), Writable: split(buf, int(piece)+1)}, g)
		if err != nil {
			t.Fatal(err)
		}
		if cut.data.Len() != whole.data.Len() {
			t.Fatalf("%d bytes of data in one piece, %d cut", whole.data.Len(), cut.data.Len())
		}
		cut.data, whole.data = nil, nil
		if !reflect.DeepEqual(cut, whole) {
			t.Fatalf("in one piece %+v, cut %+v", whole, cut)
		}
	})
}
