package agentd

import (
	"io"
	"sync"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// maxRequests is how many requests one connection may have under way.
const maxRequests = 1024

// conn is one connection of the host: a reader, and a goroutine for each request
// under way.
type conn struct {
	server *Server
	rwc    io.ReadWriteCloser

	write sync.Mutex // one frame at a time

	mu       sync.Mutex
	requests map[uint32]*request
	wg       sync.WaitGroup
}

func newConn(s *Server, rwc io.ReadWriteCloser) *conn {
	return &conn{server: s, rwc: rwc, requests: make(map[uint32]*request)}
}

// serve reads frames until the connection ends, for whatever reason, and
// returns when nothing of it is left.
func (c *conn) serve() {
	_ = c.read() // the peer is told by the end of the connection
	c.rwc.Close()
	c.mu.Lock()
	for _, r := range c.requests {
		r.cancel()
	}
	c.mu.Unlock()
	c.wg.Wait()
}

func (c *conn) read() error {
	r := agentproto.NewReader(c.rwc)
	if err := c.greet(r); err != nil {
		return err
	}
	for {
		h, payload, err := r.Next()
		if err != nil {
			return err
		}
		if h.Type == agentproto.TypeData {
			err = c.data(h, payload)
		} else {
			err = c.handle(h, payload)
		}
		if err != nil {
			return err
		}
	}
}

// greet expects Hello before anything else.
func (c *conn) greet(r *agentproto.Reader) error {
	h, payload, err := r.Next()
	if err != nil {
		return err
	}
	if h.Type != agentproto.TypeHello {
		return agentproto.Violation("no hello")
	}
	m, err := agentproto.DecodeRequest(h.Type, payload)
	if err != nil {
		return err
	}
	return c.hello(h.ID, m.(agentproto.Hello))
}

func (c *conn) hello(id uint32, peer agentproto.Hello) error {
	mine := agentproto.Hello{
		Version: agentproto.Version, MinVersion: agentproto.MinVersion,
		Capabilities: agentproto.CapTTY | agentproto.CapIdentity | agentproto.CapClock |
			agentproto.CapBind | agentproto.CapFileCopy | agentproto.CapStatistics | agentproto.CapCompare,
		Program: Program,
	}
	// The peer decides by the same rule; it gets the versions to tell its user.
	if err := c.send(id, mine); err != nil {
		return err
	}
	if _, ok := agentproto.Agree(mine, peer); !ok {
		return agentproto.Violation("no common version")
	}
	return nil
}

// data gives the payload to the request it belongs to, if that still runs.
func (c *conn) data(h agentproto.Header, payload []byte) error {
	r := c.lookup(h.ID)
	if r == nil {
		return nil
	}
	if h.Flags.Stream() != agentproto.Stdin || r.stdin == nil {
		return agentproto.Violation("data for a stream that takes none")
	}
	return r.stdin.Push(payload, h.Flags.End())
}

// send writes one message as a frame.
func (c *conn) send(id uint32, m agentproto.Message) error {
	frame, err := agentproto.AppendFrame(nil, id, m)
	if err != nil {
		return err
	}
	return c.sendFrame(frame)
}

// sendData makes buf, which has its data after HeaderSize free bytes, a frame.
func (c *conn) sendData(id uint32, s agentproto.Stream, buf []byte, end bool) error {
	agentproto.PutData(buf, id, s, end)
	return c.sendFrame(buf)
}

func (c *conn) sendFrame(frame []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	_, err := c.rwc.Write(frame)
	return err
}

func (c *conn) lookup(id uint32) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[id]
}

// begin makes a request known and runs it in its own goroutine. What run
// returns is the final reply.
func (c *conn) begin(r *request, run func(*request) agentproto.Message) error {
	c.mu.Lock()
	if c.requests[r.id] != nil {
		c.mu.Unlock()
		return agentproto.Violation("request id in use")
	}
	if len(c.requests) >= maxRequests {
		c.mu.Unlock()
		return c.send(r.id, agentproto.NewError(failed("too many requests on one connection", unix.EAGAIN)))
	}
	c.requests[r.id] = r
	c.mu.Unlock()

	memory.begin()
	c.wg.Go(func() {
		defer memory.end()
		reply := run(r)
		r.cancel() // nothing is sent or taken for it any more
		c.mu.Lock()
		delete(c.requests, r.id)
		c.mu.Unlock()
		if c.send(r.id, reply) != nil {
			c.rwc.Close() // the reader sees it and ends the rest
		}
	})
	return nil
}
