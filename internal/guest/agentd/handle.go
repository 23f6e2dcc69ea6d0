package agentd

import (
	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// handle acts on a frame that is not Data. What can wait for anything becomes a
// request of its own; the rest is done here, in the reader. An error ends the
// connection.
func (c *conn) handle(h agentproto.Header, payload []byte) error {
	m, err := agentproto.DecodeRequest(h.Type, payload)
	if err == agentproto.ErrUnknown {
		return c.send(h.ID, agentproto.NewError(failed("this agent is too old for that request", unix.ENOSYS)))
	}
	if err != nil {
		return err
	}
	sys := c.server.System
	switch m := m.(type) {
	case agentproto.ClockGet:
		return c.send(h.ID, agentproto.Clock{Realtime: sys.Realtime(), Raw: sys.Raw()})
	case agentproto.ClockAdjust:
		return c.send(h.ID, result(sys.StepRealtime(m.Offset)))
	case agentproto.Hello:
		return c.hello(h.ID, m)
	case agentproto.Credit:
		return c.credit(h.ID, m)
	case agentproto.Signal, agentproto.Resize, agentproto.Cancel:
		c.control(h.ID, m)
		return nil
	}
	return c.begin(c.request(h.ID, m))
}

// request makes the request for m, and the function that does it.
func (c *conn) request(id uint32, m agentproto.Message) (*request, func(*request) agentproto.Message) {
	sys := c.server.System
	r := &request{id: id, conn: c}
	simple := func(do func() error) (*request, func(*request) agentproto.Message) {
		return r, func(*request) agentproto.Message { return result(do()) }
	}
	switch m := m.(type) {
	case agentproto.Exec:
		r.cmd = &command{spec: m}
		if m.Stdin {
			r.stdin = agentproto.NewReceiveQueue()
		}
		r.output[agentproto.Stdout] = agentproto.NewSendWindow()
		if !m.TTY {
			r.output[agentproto.Stderr] = agentproto.NewSendWindow()
		}
		return r, (*request).exec
	case agentproto.CopyIn:
		r.stdin = agentproto.NewReceiveQueue()
		return r, func(r *request) agentproto.Message { return result(r.copyIn(m)) }
	case agentproto.CopyOut:
		r.output[agentproto.Stdout] = agentproto.NewSendWindow()
		return r, func(r *request) agentproto.Message { return result(r.copyOut(m)) }
	case agentproto.ClockCompare:
		return r, func(*request) agentproto.Message { return c.server.compare(m.GPA) }
	case agentproto.Identity:
		return r, func(*request) agentproto.Message { return c.server.apply(m) }
	case agentproto.Stats:
		return r, func(*request) agentproto.Message {
			st, err := sys.Stats()
			if err != nil {
				return agentproto.NewError(err)
			}
			return st
		}
	case agentproto.Entropy:
		return simple(func() error { return sys.AddEntropy(m.Seed) })
	case agentproto.Sync:
		return simple(sys.Sync)
	case agentproto.Shutdown:
		return simple(func() error { return sys.Shutdown(m.Mode, m.Force) })
	case agentproto.Bind:
		return simple(func() error { return sys.Bind(m.Driver, m.Device) })
	}
	return simple(func() error { return failed("not a request", unix.ENOSYS) })
}

// credit gives the credit to the stream, if its request still runs.
func (c *conn) credit(id uint32, m agentproto.Credit) error {
	r := c.lookup(id)
	if r == nil {
		return nil
	}
	w := r.output[m.Stream]
	if w == nil {
		return agentproto.Violation("credit for a stream that is not sent")
	}
	return w.Grant(m.Bytes)
}

// control passes a message to a request that still runs.
func (c *conn) control(id uint32, m agentproto.Message) {
	r := c.lookup(id)
	if r == nil {
		return
	}
	switch m := m.(type) {
	case agentproto.Cancel:
		r.cancel()
	case agentproto.Signal:
		if r.cmd != nil {
			r.cmd.signal(unix.Signal(m.Number))
		}
	case agentproto.Resize:
		if r.cmd != nil {
			r.cmd.resize(m)
		}
	}
}

// result is the final reply for a request that only works or does not.
func result(err error) agentproto.Message {
	if err != nil {
		return agentproto.NewError(err)
	}
	return agentproto.OK{}
}
