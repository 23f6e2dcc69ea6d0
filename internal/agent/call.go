package agent

import (
	"context"
	"fmt"

	"clone/internal/agentproto"
)

// call is a request with one reply and no streams.
type call struct {
	reply chan outcome // has room for the one reply
}

// outcome is how a request ended.
type outcome struct {
	m   agentproto.Message
	err error
}

func (r *call) data(agentproto.Stream, []byte, bool) error {
	return agentproto.Violation("data for a request without any")
}

func (r *call) message(m agentproto.Message) error {
	return r.finish(outcome{m: m})
}

func (r *call) fail(err error) { _ = r.finish(outcome{err: err}) }

func (r *call) finish(o outcome) error {
	select {
	case r.reply <- o:
		return nil
	default:
		return agentproto.Violation("two replies to one request")
	}
}

// ask sends a request and waits for its reply, which is a T.
func ask[T agentproto.Message](ctx context.Context, c *Client, m agentproto.Message) (T, error) {
	var none T
	r := &call{reply: make(chan outcome, 1)}
	id, err := c.register(r)
	if err != nil {
		return none, err
	}
	defer c.forget(id)
	if err := c.send(ctx, id, m); err != nil {
		return none, err
	}
	select {
	case o := <-r.reply:
		return expect[T](o)
	case <-ctx.Done():
		// A request without streams is short: the agent finishes it, and its
		// reply is dropped.
		return none, fmt.Errorf("guest agent: no reply: %w", ctx.Err())
	}
}

// expect takes the reply apart: the one that was asked for, or an error.
func expect[T agentproto.Message](o outcome) (T, error) {
	var none T
	if o.err != nil {
		return none, o.err
	}
	switch m := o.m.(type) {
	case T:
		return m, nil
	case agentproto.Error:
		return none, m
	}
	return none, fmt.Errorf("guest agent: %w", agentproto.Violation("reply of the wrong kind"))
}
