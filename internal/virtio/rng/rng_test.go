package rng

import (
	"bytes"
	"crypto/rand"
	"io"
	"testing"
	"testing/iotest"

	"clone/internal/virtio"
	"clone/internal/virtio/virtiotest"
)

// count is a source whose bytes are all different from zero, and from their neighbours.
type count byte

func (c *count) Read(p []byte) (int, error) {
	for i := range p {
		if *c++; *c == 0 {
			*c = 1
		}
		p[i] = byte(*c)
	}
	return len(p), nil
}

func TestConformance(t *testing.T) {
	virtiotest.Conformance(t, func() virtio.Device { return New(rand.Reader) }, virtiotest.Options{
		Request: func(d *virtiotest.Driver) []virtiotest.Buffer {
			return []virtiotest.Buffer{d.In(64), d.In(1), d.In(200)}
		},
		Check: func(t testing.TB, d *virtiotest.Driver, bufs []virtiotest.Buffer, written uint32) {
			if written != 265 {
				t.Errorf("%d bytes of 265", written)
			}
			for _, b := range []virtiotest.Buffer{bufs[0], bufs[2]} {
				if got := d.Bytes(b); bytes.Equal(got, make([]byte, len(got))) {
					t.Errorf("%d bytes of zeros", len(got))
				}
			}
		},
	})
}

func TestRequests(t *testing.T) {
	d := virtiotest.NewDriver(t, New(new(count)))
	d.Start(d.Offered())
	for _, c := range []struct {
		name string
		bufs []virtiotest.Buffer
		want int // bytes written
	}{
		{"one byte", []virtiotest.Buffer{d.In(1)}, 1},
		{"several buffers", []virtiotest.Buffer{d.In(10), d.In(3), d.In(4000)}, 4013},
		{"readable only", []virtiotest.Buffer{d.Out(make([]byte, 8))}, 0},
		{"readable before", []virtiotest.Buffer{d.Out(make([]byte, 8)), d.In(8)}, 8},
		{"as much as there is", []virtiotest.Buffer{d.In(requestMax)}, requestMax},
		{"more than there is", []virtiotest.Buffer{d.In(requestMax - 1), d.In(100)}, requestMax},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := d.Do(0, c.bufs...); int(got) != c.want {
				t.Fatalf("%d bytes written, want %d", got, c.want)
			}
			var writable []virtiotest.Buffer
			for _, b := range c.bufs {
				if b.Write {
					writable = append(writable, b)
				} else if !bytes.Equal(d.Bytes(b), make([]byte, b.Len)) {
					t.Error("a readable buffer was written")
				}
			}
			got := d.Bytes(writable...)
			if i := bytes.IndexByte(got, 0); i >= 0 && i != c.want || i < 0 && len(got) != c.want {
				t.Errorf("first byte not written is %d, want %d", i, c.want)
			}
		})
	}
}

// TestSourceFails checks that what the source did not give is not claimed.
func TestSourceFails(t *testing.T) {
	source := io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{7}, 10)), iotest.ErrReader(io.ErrUnexpectedEOF))
	d := virtiotest.NewDriver(t, New(source))
	d.Start(d.Offered())
	in := d.In(16)
	if got := d.Do(0, in); got != 10 {
		t.Errorf("%d bytes, the source had 10", got)
	}
	if got := d.Do(0, d.In(16)); got != 0 {
		t.Errorf("%d bytes, the source had none", got)
	}
}

// TestForksDiffer saves one device and loads it twice: what the two answer must be of their own.
func TestForksDiffer(t *testing.T) {
	d := virtiotest.NewDriver(t, New(rand.Reader))
	d.Start(d.Offered())
	var got [][]byte
	for range 2 {
		d.Migrate(New(rand.Reader))
		d.Resume()
		in := d.In(64)
		d.Do(0, in)
		got = append(got, d.Bytes(in))
	}
	if bytes.Equal(got[0], got[1]) {
		t.Error("two restores give the same bytes")
	}
	if err := New(rand.Reader).Load([]byte("entropy")); err == nil {
		t.Error("a state with something in it is loaded")
	}
}

func FuzzDevice(f *testing.F) {
	virtiotest.Fuzz(f, func() virtio.Device { return New(new(count)) })
}
