package agentproto

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestSendWindow(t *testing.T) {
	w := NewSendWindow()
	if n := w.Acquire(1000); n != 1000 {
		t.Fatal(n)
	}
	if n := w.Acquire(Window); n != Window-1000 {
		t.Fatal(n)
	}
	if err := w.Grant(5); err != nil {
		t.Fatal(err)
	}
	if n := w.Acquire(10); n != 5 {
		t.Fatal(n)
	}
	if err := w.Grant(Window); err != nil {
		t.Fatal(err)
	}
	if err := w.Grant(1); !errors.Is(err, ErrProtocol) {
		t.Errorf("more than a window: %v", err)
	}
	w.Acquire(Window)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if n := w.Acquire(1); n != 0 {
			t.Errorf("a closed window gave %d", n)
		}
	})
	w.Close()
	waiting.Wait()
}

func TestReceiveQueueLimits(t *testing.T) {
	q := NewReceiveQueue()
	full := make([]byte, Window)
	if err := q.Push(full, false); err != nil {
		t.Fatal(err)
	}
	if err := q.Push([]byte{1}, false); !errors.Is(err, ErrProtocol) {
		t.Errorf("beyond the window: %v", err)
	}
	if len(q.ring) > Window {
		t.Errorf("holds %d bytes", len(q.ring))
	}
	// Taking bytes is not yet credit: the sender does not know.
	buf := make([]byte, Window)
	if n, err := q.Pop(buf); n != Window || err != nil {
		t.Fatal(n, err)
	}
	if err := q.Push([]byte{1}, false); !errors.Is(err, ErrProtocol) {
		t.Errorf("before the credit: %v", err)
	}
	if g := q.Release(10); g != 0 {
		t.Errorf("credit for 10 bytes: %d", g)
	}
	if g := q.Release(Window - 10); g != Window {
		t.Errorf("credit for a window: %d", g)
	}
	if err := q.Push([]byte{1}, true); err != nil {
		t.Fatal(err)
	}
	if err := q.Push(nil, false); !errors.Is(err, ErrProtocol) {
		t.Errorf("after the end: %v", err)
	}
	if n, err := q.Pop(buf); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := q.Pop(buf); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	q.Close()
	if _, err := q.Pop(buf); err != ErrQueueClosed {
		t.Errorf("closed: %v", err)
	}
}

func TestReceiveQueueClose(t *testing.T) {
	q := NewReceiveQueue()
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := q.Pop(make([]byte, 1)); err != ErrQueueClosed {
			t.Error(err)
		}
	})
	q.Close()
	waiting.Wait()
	// A sender that does not know yet is not wrong, up to its credit.
	if err := q.Push(make([]byte, Window), false); err != nil {
		t.Error(err)
	}
	if err := q.Push([]byte{1}, false); !errors.Is(err, ErrProtocol) {
		t.Error(err)
	}
}

// TestFlow sends a stream of odd pieces through both halves: everything arrives
// in order, and the two never wait for each other for ever.
func TestFlow(t *testing.T) {
	const total = 5 * Window
	rng := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, total)
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	w, q := NewSendWindow(), NewReceiveQueue()
	var sender sync.WaitGroup
	sender.Go(func() {
		for rest := want; len(rest) > 0; {
			n := w.Acquire(min(len(rest), 1+rng.IntN(MaxData)))
			if err := q.Push(rest[:n], n == len(rest)); err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
	})
	var got []byte
	buf := make([]byte, 10007)
	for {
		n, err := q.Pop(buf)
		if err == io.EOF {
			break
		}
		got = append(got, buf[:n]...)
		if grant := q.Release(n); grant > 0 {
			if err := w.Grant(grant); err != nil {
				t.Fatal(err)
			}
		}
	}
	sender.Wait()
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, or in another order", len(got))
	}
}
