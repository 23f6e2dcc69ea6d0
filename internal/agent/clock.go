package agent

import (
	"context"
	"errors"
	"math"
	"time"

	"clone/internal/agentproto"
	"clone/internal/x86"
)

const (
	clockGoal      = time.Millisecond     // the error that SetClock is content with at once
	clockEnough    = 5 * time.Millisecond // and after clockPatience exchanges: half of what a fork may be wrong by
	clockPatience  = 4
	clockExchanges = 256 // at most
	clockSamples   = 8   // exchanges of MeasureClock
)

// Clock is a measurement of the guest's wall clock against the host's, in the
// manner of NTP (RFC 5905 §8): the best of several exchanges.
type Clock struct {
	Offset time.Duration // guest minus host
	RTT    time.Duration // of the exchange it comes from
}

// Span is what the offset lies between: the guest read its clock somewhere in the round trip.
func (m Clock) Span() Span { return Span{m.Offset - m.RTT/2, m.Offset + m.RTT/2} }

// unmeasured is worse than every measurement.
var unmeasured = Clock{RTT: math.MaxInt64}

// CompareClock has the guest compare its clocks with the host's by itself, once. ok is false where it cannot; it is not asked
// again then.
func (c *Client) CompareClock(ctx context.Context) (m agentproto.Comparison, ok bool, err error) {
	if c.hello.Capabilities&agentproto.CapCompare == 0 || c.cannotCompare.Load() {
		return m, false, nil
	}
	m, err = ask[agentproto.Comparison](ctx, c, agentproto.ClockCompare{GPA: x86.HostClockAddr})
	if refused := (agentproto.Error{}); errors.As(err, &refused) {
		c.cannotCompare.Store(true)
		return m, false, nil
	}
	return m, err == nil, err
}

// WallSpan is what a comparison says that the guest's wall clock, minus the host's, lies between.
func WallSpan(m agentproto.Comparison) Span {
	low := time.Duration(m.Realtime - m.HostRealtime)
	return Span{low, low + time.Duration(m.Width)}
}

// closest finds out once, as closely as can be, what the guest's clock is wrong by.
func (c *Client) closest(ctx context.Context) (Span, error) {
	if m, ok, err := c.CompareClock(ctx); ok || err != nil {
		return WallSpan(m), err
	}
	m, err := c.exchange(ctx)
	return m.Span(), err
}

// exchange asks the guest for its clock once.
func (c *Client) exchange(ctx context.Context) (Clock, error) {
	sent := time.Now()
	reply, err := ask[agentproto.Clock](ctx, c, agentproto.ClockGet{})
	if err != nil {
		return Clock{}, err
	}
	rtt := time.Since(sent) // monotonic
	// The guest read its clock somewhere between: in the middle, to within half of the round trip.
	middle := sent.UnixNano() + int64(rtt/2)
	return Clock{Offset: time.Duration(reply.Realtime - middle), RTT: rtt}, nil
}

// MeasureClock compares the guest's wall clock to the host's by exchanges of messages alone: it can judge what SetClock did.
func (c *Client) MeasureClock(ctx context.Context) (Clock, error) {
	best := unmeasured
	for range clockSamples {
		m, err := c.exchange(ctx)
		if err != nil {
			return Clock{}, err
		}
		if m.RTT < best.RTT {
			best = m
		}
	}
	return best, nil
}

// SetClock sets the guest's wall clock to the host's. It measures until the error is small or the exchanges are used up: the
// first ones are slow in a fork, whose pages are all cold. Each exchange narrows down from both sides what the clock is wrong
// by, and a step moves both, since the guest takes it at once. It steps the clock when that is wrong for certain, or
// when the middle is what remains to be gained. It returns how wrong the clock can still be at most.
func (c *Client) SetClock(ctx context.Context) (errBound time.Duration, err error) {
	known := UnknownSpan
	for n := 1; ; n++ {
		span, err := c.closest(ctx)
		if err != nil {
			return 0, err
		}
		if known = known.Narrow(span); known.Width() < 0 { // somebody else set a clock
			known = span
		}
		bound, middle := known.Bound(), known.Middle()
		if bound < clockGoal || n >= clockPatience && bound < clockEnough || n == clockExchanges {
			return bound, nil
		}
		if known.Low > 0 || known.High < 0 || n >= clockPatience && middle.Abs() > clockGoal {
			if err := c.do(ctx, agentproto.ClockAdjust{Offset: -int64(middle)}); err != nil {
				return 0, err
			}
			known = known.Shift(-middle)
		}
	}
}
