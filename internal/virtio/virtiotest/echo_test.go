package virtiotest

import (
	"bytes"
	"testing"

	"clone/internal/virtio"
)

func echoOptions() Options {
	return Options{
		Queue: 1,
		Request: func(d *Driver) []Buffer {
			return []Buffer{d.Out([]byte("hello, ")), d.Out([]byte("world")), d.In(5), d.In(20)}
		},
		Check: func(t testing.TB, d *Driver, bufs []Buffer, written uint32) {
			if got := d.Bytes(bufs[2:]...); written != 12 || !bytes.Equal(got[:12], []byte("hello, world")) {
				t.Errorf("echo of %d bytes: %q", written, got)
			}
		},
	}
}

func TestEcho(t *testing.T) {
	Conformance(t, func() virtio.Device { return NewEcho() }, echoOptions())
}

func FuzzEcho(f *testing.F) {
	Fuzz(f, func() virtio.Device { return NewEcho() })
}
