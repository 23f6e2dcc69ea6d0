package agentproto

import "sync"

// SendWindow is the sender's half of the flow control of one stream: the credit
// it has left. It is safe for concurrent use.
type SendWindow struct {
	mu     sync.Mutex
	change sync.Cond
	credit int
	closed bool
}

// NewSendWindow returns a window with the initial credit.
func NewSendWindow() *SendWindow {
	w := &SendWindow{credit: Window}
	w.change.L = &w.mu
	return w
}

// Acquire waits until there is credit and takes up to max bytes of it. It
// returns 0 when the window is closed.
func (w *SendWindow) Acquire(max int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.credit == 0 && !w.closed {
		w.change.Wait()
	}
	if w.closed {
		return 0
	}
	n := min(max, w.credit)
	w.credit -= n
	return n
}

// Grant adds the credit of a Credit frame. More credit than was ever given out
// is ErrProtocol.
func (w *SendWindow) Grant(n uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if uint64(w.credit)+uint64(n) > Window {
		return violation("credit beyond the window")
	}
	w.credit += int(n)
	w.change.Broadcast()
	return nil
}

// Close ends the stream: Acquire returns 0 from now on.
func (w *SendWindow) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.change.Broadcast()
}
