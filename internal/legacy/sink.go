package legacy

import (
	"io"
	"sync"
)

// SinkSize is how many bytes a Sink holds for a slow reader.
const SinkSize = 64 << 10

// Sink carries bytes from a vCPU to a writer that may block. Write never waits: when the writer is SinkSize bytes behind, the
// oldest bytes are dropped and counted. The newest are kept, because the end of the output tells why a guest died.
type Sink struct {
	w    io.Writer
	done chan struct{}

	mu      sync.Mutex
	wake    sync.Cond // there is something to write, or the sink is closed
	ring    [SinkSize]byte
	start   int // of the oldest byte
	length  int
	dropped uint64
	closed  bool
}

// NewSink returns a sink, and starts the goroutine that writes to w until Close.
func NewSink(w io.Writer) *Sink {
	s := &Sink{w: w, done: make(chan struct{})}
	s.wake.L = &s.mu
	go s.drain()
	return s
}

// Write takes all of p, and never blocks or fails. After Close the bytes are counted as dropped.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.dropped += uint64(len(p))
		return len(p), nil
	}
	for _, b := range p {
		if s.length == SinkSize {
			s.start = (s.start + 1) % SinkSize
			s.length--
			s.dropped++
		}
		s.ring[(s.start+s.length)%SinkSize] = b
		s.length++
	}
	s.wake.Signal()
	return len(p), nil
}

// Dropped returns how many bytes were lost since the start.
func (s *Sink) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Close writes what is left and waits for the goroutine. It returns once the writer does: a caller that cannot wait for a
// stuck writer closes that first.
func (s *Sink) Close() {
	s.mu.Lock()
	s.closed = true
	s.wake.Signal()
	s.mu.Unlock()
	<-s.done
}

// drain writes batches: whatever came while the last batch was being written. A failed writer is like a reader that went
// away: its bytes are dropped, the guest goes on.
func (s *Sink) drain() {
	defer close(s.done)
	batch := make([]byte, 4096)
	for {
		n := s.take(batch)
		if n == 0 {
			return
		}
		if written, err := s.w.Write(batch[:n]); err != nil {
			s.mu.Lock()
			s.dropped += uint64(n - min(max(written, 0), n))
			s.mu.Unlock()
		}
	}
}

// take waits for bytes and moves them to batch. It returns 0 when the sink is closed and empty.
func (s *Sink) take(batch []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.length == 0 {
		if s.closed {
			return 0
		}
		s.wake.Wait()
	}
	n := copy(batch, s.ring[s.start:min(s.start+s.length, SinkSize)])
	s.start = (s.start + n) % SinkSize
	s.length -= n
	return n
}
