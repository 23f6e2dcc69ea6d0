package agent

import (
	"context"
	"math"
	"time"

	"clone/internal/agentproto"
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

// RawClock is where the guest's CLOCK_MONOTONIC_RAW lies on the host's own clock of that guest (KVM's kvmclock).
type RawClock struct {
	Behind time.Duration // host's clock minus the guest's: a constant of this guest and all its forks
	Bound  time.Duration // how wrong Behind can be at most
}

// How MeasureRawClock repeats: until the error is small, but not for ever.
const (
	rawGoal      = 200 * time.Microsecond
	rawEnough    = 2 * time.Millisecond // after rawPatience exchanges
	rawPatience  = 16
	rawExchanges = 64
)

// MeasureRawClock compares the guest's CLOCK_MONOTONIC_RAW to hostClock, in nanoseconds. The guest read its clock between
// two readings of the host's, so each exchange narrows the difference down from both sides. ok is false where the guest's
// clock source is not kvm-clock.
func (c *Client) MeasureRawClock(ctx context.Context, hostClock func() (int64, error)) (r RawClock, ok bool, err error) {
	known := UnknownSpan
	before, err := hostClock()
	for n := 0; n < rawExchanges; n++ {
		if n > 0 && known.Width() < 2*rawGoal || n >= rawPatience && known.Width() < 2*rawEnough {
			break
		}
		if err != nil {
			return r, false, err
		}
		reply, err := ask[agentproto.Clock](ctx, c, agentproto.ClockGet{})
		if err != nil || reply.Raw == 0 {
			return r, false, err
		}
		after, err := hostClock()
		if err != nil {
			return r, false, err
		}
		known = known.Narrow(Span{time.Duration(before - reply.Raw), time.Duration(after - reply.Raw)})
		before = after
	}
	return RawClock{Behind: known.Middle(), Bound: known.Width()/2 + 1}, known.Width() >= 0, nil
}

// unmeasured is worse than every measurement.
var unmeasured = Clock{RTT: math.MaxInt64}

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

// MeasureClock compares the guest's wall clock to the host's.
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
		m, err := c.exchange(ctx)
		if err != nil {
			return 0, err
		}
		if known = known.Narrow(m.Span()); known.Width() < 0 { // somebody else set a clock
			known = m.Span()
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
