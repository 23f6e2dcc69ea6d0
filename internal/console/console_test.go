package console

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// readN reads exactly n bytes.
func readN(t *testing.T, r io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// pattern is n bytes in which every place is different from its neighbourhood.
func pattern(n int) []byte {
	b := make([]byte, n)
	src := rand.NewPCG(1, 2)
	for i := range b {
		b[i] = byte(src.Uint64())
	}
	return b
}

func TestHistoryThenLive(t *testing.T) {
	c := newSize(nil, 16)
	c.Write([]byte("hello "))
	s := c.Attach()
	c.Write([]byte("world"))
	if got := readN(t, s, 11); string(got) != "hello world" {
		t.Errorf("%q", got)
	}
	c.Write([]byte("!"))
	c.Close()
	if got, err := io.ReadAll(s); err != nil || string(got) != "!" {
		t.Errorf("the last words: %q, %v", got, err)
	}
	if got, err := io.ReadAll(c.Attach()); err != nil || string(got) != "hello world!" {
		t.Errorf("attached after the end: %q, %v", got, err)
	}
}

// Every byte arrives, in order, whatever the sizes of writes and reads, at every place of the ring.
func TestEveryByte(t *testing.T) {
	all := pattern(5000)
	for _, sizes := range []struct{ ring, write, read int }{{1, 1, 1}, {7, 3, 2}, {16, 16, 16}, {64, 5, 100}, {100, 33, 7}} {
		c := newSize(nil, sizes.ring)
		s := c.Attach()
		var got []byte
		buf := make([]byte, sizes.read)
		for rest := all; len(rest) > 0; {
			k := min(sizes.write, len(rest))
			if n, err := c.Write(rest[:k]); n != k || err != nil {
				t.Fatal(n, err)
			}
			rest = rest[k:]
			for read := 0; read < k; {
				n, err := s.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				got, read = append(got, buf[:n]...), read+n
			}
		}
		if !bytes.Equal(got, all) || s.Lost() != 0 {
			t.Errorf("%+v: bytes differ, or %d lost", sizes, s.Lost())
		}
	}
}

func TestHistoryIsTheLastBytes(t *testing.T) {
	for _, chunk := range []int{1, 5, 16, 40, 1000} {
		c := newSize(nil, 16)
		all := pattern(1000)
		for p := range slices.Chunk(all, chunk) {
			c.Write(p)
		}
		c.Close()
		if got, _ := io.ReadAll(c.Attach()); !bytes.Equal(got, all[len(all)-16:]) {
			t.Errorf("writes of %d: history is % x", chunk, got)
		}
	}
}

func TestSlowReader(t *testing.T) {
	c := newSize(nil, 16)
	slow, quick := c.Attach(), c.Attach()
	all := pattern(1000)
	var got []byte
	for i := range all {
		c.Write(all[i : i+1]) // would hang here if it waited for slow
		got = append(got, readN(t, quick, 1)...)
	}
	c.Close()
	if !bytes.Equal(got, all) || quick.Lost() != 0 {
		t.Errorf("the quick reader lost %d bytes", quick.Lost())
	}
	rest, err := io.ReadAll(slow)
	if err != nil || !bytes.Equal(rest, all[len(all)-16:]) || slow.Lost() != 1000-16 {
		t.Errorf("the slow reader: %d bytes, %d lost, %v", len(rest), slow.Lost(), err)
	}
}

func TestCloseWakesReader(t *testing.T) {
	for name, end := range map[string]func(*Console, *Stream) error{
		"stream":  func(_ *Console, s *Stream) error { return s.Close() },
		"console": func(c *Console, _ *Stream) error { return c.Close() },
	} {
		c := newSize(nil, 16)
		s := c.Attach()
		ended := make(chan error)
		go func() { _, err := s.Read(make([]byte, 1)); ended <- err }()
		end(c, s)
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: Read returned without an error", name)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: Read still waits", name)
		}
		if _, err := s.Write([]byte("x")); err != io.ErrClosedPipe {
			t.Errorf("%s: typing into the closed: %v", name, err)
		}
	}
}

func TestTypingIsOneAtATime(t *testing.T) {
	var got []byte // the race detector, or a lost byte, tells if two came at once
	c := newSize(func(p []byte) { got = append(got, p...) }, 16)
	var wg sync.WaitGroup
	for range 8 {
		s := c.Attach()
		wg.Go(func() {
			for range 100 {
				s.Write([]byte("ab"))
			}
		})
	}
	wg.Wait()
	if want := bytes.Repeat([]byte("ab"), 800); !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived of %d, or mixed", len(got), len(want))
	}
}
