package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"clone/internal/agentproto"
)

var (
	// ErrClosed is a Client that was closed by its owner.
	ErrClosed = errors.New("connection to the guest agent is closed")
	// ErrVersion is an agent that speaks no version of the protocol that this
	// program does.
	ErrVersion = errors.New("guest agent speaks another version of the protocol")
)

// Client is a connection to the agent of one guest.
type Client struct {
	conn net.Conn
	lock chan struct{}  // held by the one who writes a frame
	wg   sync.WaitGroup // the reader and the goroutines of processes
	done chan struct{}  // closed when the connection is over

	mu    sync.Mutex
	calls map[uint32]receiver
	last  uint32 // newest request id
	err   error  // why the connection is over
	hello agentproto.Hello

	cannotCompare atomic.Bool // the guest was asked, and has not got the host's clock
}

// writePatience is how long a frame that is half written goes on after its
// context ended. Stopping in the middle costs the connection, so it is for
// guests that do not read at all.
const writePatience = time.Second

// receiver is a request under way. Its methods run in the reader: they must
// neither wait nor write.
type receiver interface {
	data(s agentproto.Stream, p []byte, end bool) error
	message(m agentproto.Message) error
	fail(err error)
}

func newClient(conn net.Conn) *Client {
	c := &Client{
		conn:  conn,
		lock:  make(chan struct{}, 1),
		done:  make(chan struct{}),
		calls: make(map[uint32]receiver),
	}
	c.wg.Go(func() { c.shut(c.read()) })
	return c
}

// Close ends the connection, and with it every command that the Client started
// and that still runs. It waits for the Client's goroutines.
func (c *Client) Close() error {
	c.shut(ErrClosed)
	c.wg.Wait()
	return nil
}

// Done is closed when the connection is over: closed, lost, or reset by a fork.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the connection is over, or nil while it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// shut ends the connection for a reason; the first one counts.
func (c *Client) shut(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	calls := c.calls
	c.calls = nil
	c.mu.Unlock()
	c.conn.Close()
	close(c.done)
	for _, r := range calls {
		r.fail(err)
	}
}

// read distributes frames until the connection ends, and says why it did.
func (c *Client) read() error {
	r := agentproto.NewReader(c.conn)
	for {
		h, payload, err := r.Next()
		if err != nil {
			return fmt.Errorf("guest agent: connection lost: %w", err)
		}
		if err := c.deliver(h, payload); err != nil {
			return fmt.Errorf("guest agent: %w", err)
		}
	}
}

func (c *Client) deliver(h agentproto.Header, payload []byte) error {
	c.mu.Lock()
	r, issued := c.calls[h.ID], h.ID <= c.last
	c.mu.Unlock()
	if r == nil {
		if !issued {
			return agentproto.Violation("reply to a request that was never made")
		}
		return nil // given up, and the agent does not know yet
	}
	if h.Type == agentproto.TypeData {
		return r.data(h.Flags.Stream(), payload, h.Flags.End())
	}
	m, err := agentproto.DecodeReply(h.Type, payload)
	if err != nil {
		return err
	}
	return r.message(m)
}

// register gives the request r an id.
func (c *Client) register(r receiver) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if c.last == 1<<32-1 {
		return 0, errors.New("guest agent: connection has used up its request ids; connect again")
	}
	c.last++
	c.calls[c.last] = r
	return c.last, nil
}

func (c *Client) forget(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, id)
}

// send writes a message as one frame.
func (c *Client) send(ctx context.Context, id uint32, m agentproto.Message) error {
	frame, err := agentproto.AppendFrame(nil, id, m)
	if err != nil {
		return err
	}
	return c.sendFrame(ctx, frame)
}

func (c *Client) sendFrame(ctx context.Context, frame []byte) error {
	select {
	case c.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.Err()
	}
	defer func() { <-c.lock }()
	if err := ctx.Err(); err != nil {
		return err
	}
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.conn.SetWriteDeadline(time.Now().Add(writePatience))
		close(late)
	})
	_, err := c.conn.Write(frame)
	if !stop() {
		<-late
		c.conn.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		// Perhaps half of the frame is out: nothing can follow it.
		c.shut(fmt.Errorf("guest agent: connection lost: %w", err))
		return c.Err()
	}
	return nil
}
