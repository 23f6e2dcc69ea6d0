package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Dialer makes a connection to the port of the guest's agent.
type Dialer = func(ctx context.Context) (net.Conn, error)

// Dial connects once and greets the agent. ctx bounds that, not the life of the
// Client.
func Dial(ctx context.Context, dialer func(ctx context.Context) (net.Conn, error)) (*Client, error) {
	conn, err := dialer(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the guest agent: %w", err)
	}
	c := newClient(conn)
	if err := c.greet(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("greet the guest agent: %w", err)
	}
	return c, nil
}

// How DialWait repeats: soon at first, since a fork answers within
// milliseconds, and then rarely enough to cost nothing during a boot.
const (
	firstPause   = time.Millisecond
	longestPause = 50 * time.Millisecond
	firstGreet   = time.Second
	longestGreet = 8 * time.Second
)

// DialWait dials until the agent answers or ctx is done: for a guest that is
// booting, or whose transport is just being reset after a fork. A connection
// that is made and stays silent is given up after a while, for the same reason.
func DialWait(ctx context.Context, dialer func(ctx context.Context) (net.Conn, error)) (*Client, error) {
	pause, greet := firstPause, firstGreet
	for {
		attempt, cancel := context.WithTimeout(ctx, greet)
		c, err := Dial(attempt, dialer)
		late := attempt.Err() != nil
		cancel()
		if err == nil {
			return c, nil
		}
		if errors.Is(err, ErrVersion) {
			return nil, err // it answered; it will not say anything else
		}
		if late {
			greet = min(2*greet, longestGreet)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the guest agent did not answer (%w), last: %w", ctx.Err(), err)
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		}
	}
}
