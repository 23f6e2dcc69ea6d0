package agentproto

import (
	"errors"
	"io"
	"sync"
)

// ErrQueueClosed is the end of a stream that was given up, not finished.
var ErrQueueClosed = errors.New("stream closed")

// ReceiveQueue is the receiver's half of the flow control of one stream: bytes
// that arrived and that its reader has not taken. It never holds more than
// Window bytes, starts with none, and is safe for one reader and one writer at
// a time.
type ReceiveQueue struct {
	mu     sync.Mutex
	change sync.Cond

	ring []byte // length 0 or a power of two
	head int    // index of the first byte
	size int    // bytes held

	owed    int // bytes pushed and not yet given back as credit
	pending int // bytes taken and not yet given back as credit
	ended   bool
	closed  bool
}

// NewReceiveQueue returns an empty queue.
func NewReceiveQueue() *ReceiveQueue {
	q := &ReceiveQueue{}
	q.change.L = &q.mu
	return q
}

// Push adds the payload of a Data frame. It never waits: more than the credit,
// or anything after the end, is ErrProtocol. After Close it drops the bytes.
func (q *ReceiveQueue) Push(p []byte, end bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return violation("data after the end of its stream")
	}
	if q.owed+len(p) > Window {
		return violation("data beyond the window")
	}
	q.owed += len(p)
	q.ended = end
	if !q.closed {
		q.store(p)
	}
	q.change.Broadcast()
	return nil
}

func (q *ReceiveQueue) store(p []byte) {
	if need := q.size + len(p); need > len(q.ring) {
		n := max(len(q.ring), 1<<10)
		for n < need {
			n *= 2
		}
		ring := make([]byte, n)
		q.peek(ring[:q.size])
		q.ring, q.head = ring, 0
	}
	if len(p) == 0 {
		return
	}
	tail := (q.head + q.size) & (len(q.ring) - 1)
	n := copy(q.ring[tail:], p)
	copy(q.ring, p[n:])
	q.size += len(p)
}

// peek copies the first len(p) bytes held.
func (q *ReceiveQueue) peek(p []byte) {
	n := copy(p, q.ring[q.head:])
	copy(p[n:], q.ring)
}

// Pop waits for bytes and takes up to len(p) of them. The error is io.EOF after
// the last one and ErrQueueClosed after Close.
func (q *ReceiveQueue) Pop(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.size == 0 && !q.ended && !q.closed {
		q.change.Wait()
	}
	switch {
	case q.closed:
		return 0, ErrQueueClosed
	case q.size == 0:
		return 0, io.EOF
	}
	n := min(len(p), q.size)
	q.peek(p[:n])
	q.size -= n
	q.head = (q.head + n) & (len(q.ring) - 1)
	return n, nil
}

// Release says that the reader is done with n bytes that it took. It returns
// the credit to send to the peer now, or 0: small amounts are collected until
// they are a quarter of the window, so that credit costs few frames.
func (q *ReceiveQueue) Release(n int) uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending += n
	if q.pending < Window/4 || q.ended {
		return 0
	}
	grant := q.pending
	q.owed -= grant
	q.pending = 0
	return uint32(grant)
}

// Finish ends the stream without a last Data frame, when its request is over.
func (q *ReceiveQueue) Finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.change.Broadcast()
}

// Close gives the stream up: what it holds is dropped and its reader returns.
func (q *ReceiveQueue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ring, q.head, q.size = nil, 0, 0
	q.change.Broadcast()
}
