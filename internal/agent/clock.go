package agent

import (
	"context"
	"math"
	"time"

	"clone/internal/agentproto"
)

const (
	clockGoal    = time.Millisecond // the error that SetClock is content with
	clockTries   = 5                // steps at most
	clockSamples = 8                // exchanges for each measurement
)

// Clock is a measurement of the guest's wall clock against the host's, in the
// manner of NTP (RFC 5905 §8): the best of several exchanges.
type Clock struct {
	Offset time.Duration // guest minus host
	RTT    time.Duration // of the exchange it comes from
}

// Bound is how wrong the guest's clock can be at most.
func (m Clock) Bound() time.Duration { return m.Offset.Abs() + m.RTT/2 }

// MeasureClock compares the guest's wall clock to the host's.
func (c *Client) MeasureClock(ctx context.Context) (Clock, error) {
	best := Clock{RTT: math.MaxInt64}
	for range clockSamples {
		sent := time.Now()
		reply, err := ask[agentproto.Clock](ctx, c, agentproto.ClockGet{})
		if err != nil {
			return Clock{}, err
		}
		rtt := time.Since(sent) // monotonic
		if rtt < best.RTT {
			// The guest read its clock somewhere between: in the middle, to
			// within half of the round trip.
			middle := sent.UnixNano() + int64(rtt/2)
			best = Clock{Offset: time.Duration(reply.Realtime - middle), RTT: rtt}
		}
	}
	return best, nil
}

// SetClock sets the guest's wall clock to the host's: it measures and steps
// until the error is below a millisecond for certain, or five times. It returns
// how wrong the clock can still be at most, which the round trip limits.
func (c *Client) SetClock(ctx context.Context) (errBound time.Duration, err error) {
	for try := 0; ; try++ {
		m, err := c.MeasureClock(ctx)
		if err != nil {
			return 0, err
		}
		if m.Bound() < clockGoal || try == clockTries {
			return m.Bound(), nil
		}
		if m.Offset.Abs() <= m.RTT/2 {
			continue // right as far as one can tell; perhaps a faster exchange tells more
		}
		if err := c.do(ctx, agentproto.ClockAdjust{Offset: -int64(m.Offset)}); err != nil {
			return 0, err
		}
	}
}
