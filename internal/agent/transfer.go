package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"clone/internal/agentproto"
)

// transfer is a request with streams: a command or a copy. Its context ends when
// the request does, so that whatever works for it stops.
type transfer struct {
	client *Client
	id     uint32
	user   context.Context // of the caller
	ctx    context.Context // ends with the caller's, the reply or the connection
	cancel context.CancelFunc
	watch  func() bool // stops watching ctx

	queues [agentproto.Streams]*agentproto.ReceiveQueue // what the guest sends; nil: no such stream
	send   *agentproto.SendWindow                       // of Stdin, or nil

	info agentproto.FileInfo // of CopyOut, before its data

	mu    sync.Mutex
	over  chan struct{} // closed by the final reply, or the connection's end
	reply outcome       // valid when over is closed
}

func newTransfer() *transfer { return &transfer{over: make(chan struct{})} }

func (t *transfer) isOver() bool {
	select {
	case <-t.over:
		return true
	default:
		return false
	}
}

// cancelPatience is how long a guest that does not read may delay giving up.
const cancelPatience = time.Second

// begin sends the request m of the transfer t.
func (c *Client) begin(ctx context.Context, t *transfer, m agentproto.Message) error {
	t.client, t.user = c, ctx
	t.ctx, t.cancel = context.WithCancel(ctx)
	id, err := c.register(t)
	if err != nil {
		t.cancel()
		return err
	}
	t.id = id
	// Whoever waits in a stream is woken when the caller gives up.
	t.watch = context.AfterFunc(ctx, t.stop)
	if err := c.send(ctx, id, m); err != nil {
		t.release() // it was not sent, or the connection is gone
		return err
	}
	return nil
}

// data, message and fail run in the client's reader.

func (t *transfer) data(s agentproto.Stream, p []byte, end bool) error {
	if t.queues[s] == nil {
		return agentproto.Violation("data on a stream that was not asked for")
	}
	return t.queues[s].Push(p, end)
}

func (t *transfer) message(m agentproto.Message) error {
	switch m := m.(type) {
	case agentproto.Credit:
		if t.send == nil || m.Stream != agentproto.Stdin {
			return agentproto.Violation("credit for a stream that is not sent")
		}
		return t.send.Grant(m.Bytes)
	case agentproto.FileInfo:
		t.info = m
		return nil
	}
	return t.finish(outcome{m: m})
}

func (t *transfer) fail(err error) {
	_ = t.finish(outcome{err: err}) // only the first end counts
	t.stop()
}

// finish is the end of the request on the wire. Nothing more comes on streams
// that did not end, and nothing more is taken.
func (t *transfer) finish(o outcome) error {
	t.mu.Lock()
	again := t.isOver()
	if !again {
		t.reply = o
		close(t.over)
	}
	t.mu.Unlock()
	if again {
		return agentproto.Violation("two replies to one request")
	}
	if t.send != nil {
		t.send.Close()
	}
	for _, q := range t.queues {
		if q != nil {
			q.Finish()
		}
	}
	return nil
}

// stop wakes everybody who waits in a stream of the transfer.
func (t *transfer) stop() {
	t.cancel()
	if t.send != nil {
		t.send.Close()
	}
	for _, q := range t.queues {
		if q != nil {
			q.Close()
		}
	}
}

// release ends the transfer on this side.
func (t *transfer) release() {
	t.watch()
	t.stop()
	t.client.forget(t.id)
}

// leave ends the transfer on this side, and on the other if that is not done.
func (t *transfer) leave() {
	t.release()
	if t.isOver() {
		return
	}
	// Without the caller's deadline: giving up is what must still get through.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.user), cancelPatience)
	defer cancel()
	_ = t.client.send(ctx, t.id, agentproto.Cancel{}) // else the connection is gone, and the request with it
}

// emit sends the n bytes after the header room of buf on Stdin, as credit
// allows. It returns false when the request is over.
func (t *transfer) emit(buf []byte, n int) bool {
	const head = agentproto.HeaderSize
	for start := 0; start < n; {
		k := t.send.Acquire(n - start)
		if k == 0 {
			return false
		}
		frame := buf[start : start+head+k]
		agentproto.PutData(frame, t.id, agentproto.Stdin, false)
		if t.client.sendFrame(t.ctx, frame) != nil {
			return false
		}
		start += k
	}
	return true
}

// end marks the end of Stdin.
func (t *transfer) end(buf []byte) {
	frame := buf[:agentproto.HeaderSize]
	agentproto.PutData(frame, t.id, agentproto.Stdin, true)
	_ = t.client.sendFrame(t.ctx, frame) // the request is over, or its reply says why not
}

// drain writes the stream s to w up to its end. It returns w's error only.
func (t *transfer) drain(s agentproto.Stream, w io.Writer) error {
	q := t.queues[s]
	buf := make([]byte, 32<<10)
	for {
		n, err := q.Pop(buf)
		if err != nil {
			return nil
		}
		if w != nil {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if grant := q.Release(n); grant > 0 {
			m := agentproto.Credit{Stream: s, Bytes: grant}
			if t.client.send(t.ctx, t.id, m) != nil {
				return nil
			}
		}
	}
}

// errGivenUp is a request that its own side ended.
var errGivenUp = errors.New("guest agent: request given up")

// result waits for the final reply of t, which is a T, or for this side to give
// up. A reply that came counts in any case.
func result[T agentproto.Message](t *transfer) (T, error) {
	select {
	case <-t.over:
	case <-t.ctx.Done():
	}
	if t.isOver() {
		m, err := expect[T](t.reply)
		if errors.Is(err, agentproto.ErrProtocol) {
			t.client.shut(err)
		}
		return m, err
	}
	var none T
	if err := t.user.Err(); err != nil {
		return none, fmt.Errorf("%w: %w", errGivenUp, err)
	}
	return none, errGivenUp
}
