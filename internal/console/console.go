package console

import (
	"io"
	"sync"
)

// HistoryBytes is how much of what the guest printed is kept: what a new reader sees first, and how far a slow one may
// fall behind.
const HistoryBytes = 256 << 10

// Console is one serial port's output, kept in a ring, and its input.
type Console struct {
	input func([]byte)

	mu      sync.Mutex
	changed sync.Cond // something was printed, or a stream or the console was closed
	ring    []byte
	total   uint64 // bytes printed so far; byte number n is at ring[n % len(ring)]
	closed  bool
}

// New makes a console. Input is called with what readers type, one call at a time; it must not keep the slice.
func New(input func([]byte)) *Console { return newSize(input, HistoryBytes) }

func newSize(input func([]byte), size int) *Console {
	var typing sync.Mutex
	c := &Console{
		input: func(p []byte) {
			typing.Lock()
			defer typing.Unlock()
			input(p)
		},
		ring: make([]byte, size), // the kernel gives pages of it as they are written
	}
	c.changed.L = &c.mu
	return c
}

// Write takes what the guest printed. It never waits for a reader, and never fails.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	if c.closed {
		return n, nil
	}
	if skip := n - len(c.ring); skip > 0 {
		c.total += uint64(skip)
		p = p[skip:]
	}
	for len(p) > 0 {
		k := copy(c.ring[c.total%uint64(len(c.ring)):], p)
		c.total += uint64(k)
		p = p[k:]
	}
	c.changed.Broadcast()
	return n, nil
}

// Close tells the readers that the machine has ended: each reads what is left, and then io.EOF.
func (c *Console) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.changed.Broadcast()
	return nil
}

// Attach adds a reader. It begins with the history.
func (c *Console) Attach() *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Stream{c: c, next: c.oldest()}
}

// oldest is the number of the first byte that the ring still holds. The caller holds mu.
func (c *Console) oldest() uint64 { return c.total - min(c.total, uint64(len(c.ring))) }

// Stream is one reader of a console. It has no buffer of its own, only its place in the ring.
type Stream struct {
	c      *Console
	next   uint64 // number of the next byte to read
	lost   uint64
	closed bool
}

// Read waits for output. It returns io.EOF when the console was closed and everything is read, and io.ErrClosedPipe when
// the stream was closed.
func (s *Stream) Read(p []byte) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for !s.closed && !c.closed && s.next == c.total {
		c.changed.Wait()
	}
	if s.closed {
		return 0, io.ErrClosedPipe
	}
	if s.next == c.total {
		return 0, io.EOF
	}
	if oldest := c.oldest(); s.next < oldest {
		s.lost += oldest - s.next
		s.next = oldest
	}
	n := 0
	for n < len(p) && s.next < c.total {
		at := s.next % uint64(len(c.ring))
		k := copy(p[n:], c.ring[at:min(uint64(len(c.ring)), at+c.total-s.next)])
		n += k
		s.next += uint64(k)
	}
	return n, nil
}

// Write types. It fails once the stream or the console is closed.
func (s *Stream) Write(p []byte) (int, error) {
	s.c.mu.Lock()
	closed := s.closed || s.c.closed
	s.c.mu.Unlock()
	if closed {
		return 0, io.ErrClosedPipe
	}
	s.c.input(p)
	return len(p), nil
}

// Lost is how many bytes this reader missed, because it was slower than the guest.
func (s *Stream) Lost() uint64 {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.lost
}

// Close detaches: a waiting Read returns.
func (s *Stream) Close() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.closed = true
	s.c.changed.Broadcast()
	return nil
}
