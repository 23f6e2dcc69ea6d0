package agentd

import "clone/internal/agentproto"

// request is one request under way: the streams it has, and how to give it up.
// The fields do not change after begin; each is safe for concurrent use.
type request struct {
	id     uint32
	conn   *conn
	stdin  *agentproto.ReceiveQueue                   // nil: takes no data
	output [agentproto.Streams]*agentproto.SendWindow // nil: sends no such stream
	cmd    *command                                   // nil: not a command
}

// cancel gives the request up: its streams end, its command is hung up. It may
// be called at any time, any number of times, and does not wait.
func (r *request) cancel() {
	if r.stdin != nil {
		r.stdin.Close()
	}
	for _, w := range r.output {
		if w != nil {
			w.Close()
		}
	}
	if r.cmd != nil {
		r.cmd.hangUp()
	}
}

// take reads up to len(p) bytes of the stream that the host sends.
func (r *request) take(p []byte) (int, error) { return r.stdin.Pop(p) }

// taken gives the credit for n bytes back.
func (r *request) taken(n int) error {
	if grant := r.stdin.Release(n); grant > 0 {
		return r.conn.send(r.id, agentproto.Credit{Stream: agentproto.Stdin, Bytes: grant})
	}
	return nil
}

// emit sends the n bytes that follow the header room of buf, as credit allows.
// It returns false when the request was given up or the connection is gone.
func (r *request) emit(s agentproto.Stream, buf []byte, n int) bool {
	const head = agentproto.HeaderSize
	for start := 0; start < n; {
		k := r.output[s].Acquire(n - start)
		if k == 0 {
			return false
		}
		// The header goes in front of what is left, over bytes already sent.
		if r.conn.sendData(r.id, s, buf[start:start+head+k], false) != nil {
			return false
		}
		start += k
	}
	return true
}

// end marks the end of an output stream.
func (r *request) end(s agentproto.Stream) {
	// An error means that the connection is gone: the reader sees it too.
	_ = r.conn.sendData(r.id, s, make([]byte, agentproto.HeaderSize), true)
}
