package agentproto

import (
	"encoding/binary"
	"unicode/utf8"
)

var le = binary.LittleEndian

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint32(b, uint32(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = le.AppendUint32(b, uint32(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// decoder takes a payload apart. The first thing that does not fit sets bad,
// and everything after it is zero, so that a message is decoded in one piece
// and judged once, by done.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u8() uint8 {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if p := d.take(2); p != nil {
		return le.Uint16(p)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return le.Uint32(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return le.Uint64(p)
	}
	return 0
}

// bool accepts 0 and 1 only: one message has one encoding.
func (d *decoder) bool() bool {
	v := d.u8()
	d.bad = d.bad || v > 1
	return v == 1
}

// str takes a string of at most max bytes without NUL: most of them become
// paths, arguments and names of the kernel's.
func (d *decoder) str(max int) string {
	n := d.u32()
	if n > uint32(max) {
		d.bad = true
	}
	p := d.take(int(n))
	for _, c := range p {
		if c == 0 {
			d.bad = true
			return ""
		}
	}
	return string(p)
}

// text takes a message meant for people. It comes from a guest and may end on
// somebody's terminal: what could control it becomes '?'.
func (d *decoder) text(max int) string {
	n := d.u32()
	if n > uint32(max) {
		d.bad = true
	}
	p := d.take(int(n))
	out := make([]byte, 0, len(p))
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == utf8.RuneError {
			out = append(out, '?')
		} else {
			out = append(out, p[:size]...)
		}
		p = p[size:]
	}
	return string(out)
}

// strs takes a list of strings. Each costs at least its length field, which
// bounds the list by the payload before anything is allocated.
func (d *decoder) strs() []string {
	n := d.u32()
	if d.bad || uint64(n)*4 > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, d.str(MaxExec))
		if d.bad {
			return nil
		}
	}
	return list
}

// done judges the whole: nothing may be missing and nothing left over.
func (d *decoder) done(what string) error {
	if d.bad || len(d.b) != 0 {
		return violation("malformed " + what)
	}
	return nil
}
