package vsock

import (
	"io"
	"testing"
)

const benchChunk = 64 << 10

func benchmarkStream(b *testing.B, from io.Writer, to io.Reader) {
	b.SetBytes(benchChunk)
	go func() {
		chunk := make([]byte, benchChunk)
		for range b.N {
			if _, err := from.Write(chunk); err != nil {
				return
			}
		}
	}()
	if _, err := io.CopyN(io.Discard, onlyReader{to}, int64(b.N)*benchChunk); err != nil {
		b.Error(err)
	}
}

func BenchmarkHostToGuest(b *testing.B) {
	c, s := pair(b, boot(b, Config{}))
	benchmarkStream(b, c, s)
}

func BenchmarkGuestToHost(b *testing.B) {
	c, s := pair(b, boot(b, Config{}))
	benchmarkStream(b, s, c)
}

func BenchmarkRoundTrip(b *testing.B) {
	c, s := pair(b, boot(b, Config{}))
	go io.Copy(s, s)
	p := make([]byte, 64)
	for range b.N {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, p); err != nil {
			b.Fatal(err)
		}
	}
}
