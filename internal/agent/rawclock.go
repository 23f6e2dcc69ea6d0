package agent

import (
	"context"
	"time"

	"clone/internal/agentproto"
)

// RawClock is where the guest's CLOCK_MONOTONIC_RAW lies on the host's own clock of that guest (KVM's kvmclock).
type RawClock struct {
	Behind time.Duration // host's clock minus the guest's: a constant while the guest keeps its clock source, in its forks too
	Bound  time.Duration // how wrong Behind can be at most
}

// How MeasureRawClock repeats: until the error is small, but not for ever.
const (
	rawGoal      = 200 * time.Microsecond
	rawEnough    = 2 * time.Millisecond // after rawPatience exchanges
	rawPatience  = 4
	rawExchanges = 64
)

// MeasureRawClock compares the guest's CLOCK_MONOTONIC_RAW to hostClock, in nanoseconds. Each exchange narrows the
// difference down from both sides; where one fails, as at the end of ctx, those before it count. ok is false where the
// guest's clock source is not kvm-clock, or was changed meanwhile.
func (c *Client) MeasureRawClock(ctx context.Context, hostClock func() (int64, error)) (r RawClock, ok bool, err error) {
	known := UnknownSpan
	for n := 0; n < rawExchanges; n++ {
		if n > 0 && known.Width() < 2*rawGoal || n >= rawPatience && known.Width() < 2*rawEnough {
			break
		}
		span, ok, err := c.rawSpan(ctx, hostClock)
		if err != nil && n > 0 {
			break
		}
		if err != nil || !ok {
			return r, false, err
		}
		known = known.Narrow(span)
	}
	return RawClock{Behind: known.Middle(), Bound: known.Width()/2 + 1}, known.Width() >= 0, nil
}

// rawSpan is what the difference lies between by one exchange: one of the clocks was read between two readings of the other.
func (c *Client) rawSpan(ctx context.Context, hostClock func() (int64, error)) (s Span, ok bool, err error) {
	if m, ok, err := c.CompareClock(ctx); ok || err != nil {
		high := time.Duration(m.HostKVMClock - m.Raw)
		return Span{high - time.Duration(m.Width), high}, m.Raw != 0, err
	}
	before, err := hostClock()
	if err != nil {
		return s, false, err
	}
	reply, err := ask[agentproto.Clock](ctx, c, agentproto.ClockGet{})
	if err != nil {
		return s, false, err
	}
	after, err := hostClock()
	return Span{time.Duration(before - reply.Raw), time.Duration(after - reply.Raw)}, reply.Raw != 0, err
}
