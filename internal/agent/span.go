package agent

import (
	"math"
	"time"
)

// Span is what a difference of two clocks is known to lie between. One exchange of readings gives a span as wide as its round
// trip; several together give a narrower one.
type Span struct{ Low, High time.Duration }

// UnknownSpan is where all differences lie, to begin with.
var UnknownSpan = Span{math.MinInt64, math.MaxInt64}

// Narrow is what both allow. Its width is negative if they exclude each other.
func (s Span) Narrow(o Span) Span { return Span{max(s.Low, o.Low), min(s.High, o.High)} }

// Shift is the span after one of the clocks was stepped by d.
func (s Span) Shift(d time.Duration) Span { return Span{s.Low + d, s.High + d} }

// Width is not defined for UnknownSpan.
func (s Span) Width() time.Duration { return s.High - s.Low }

// Middle is never more than half of the width away from the difference.
func (s Span) Middle() time.Duration { return s.Low + s.Width()/2 }

// Bound is how large the difference can be at most, either way.
func (s Span) Bound() time.Duration { return max(s.Low.Abs(), s.High.Abs()) }
