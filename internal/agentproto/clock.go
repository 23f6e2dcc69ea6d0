package agentproto

import "time"

// ClockGet asks for the guest's wall clock; the agent answers it before
// anything else that is waiting.
type ClockGet struct{}

// Type implements Message.
func (ClockGet) Type() Type { return TypeClockGet }

func (ClockGet) append(b []byte) []byte { return b }

// Clock is the reply of ClockGet.
type Clock struct {
	Realtime int64 // CLOCK_REALTIME of the guest, nanoseconds since 1970
	// Raw is the guest's CLOCK_MONOTONIC_RAW at the same moment, where its clock source is kvm-clock: then it runs a
	// constant behind the kvmclock that the host reads, for as long as the guest and its forks live. 0: it has another.
	Raw int64
}

// Type implements Message.
func (Clock) Type() Type { return TypeClock }

func (m Clock) append(b []byte) []byte {
	return le.AppendUint64(le.AppendUint64(b, uint64(m.Realtime)), uint64(m.Raw))
}

func decodeClock(p []byte) (Clock, error) {
	d := decoder{b: p}
	m := Clock{Realtime: int64(d.u64()), Raw: int64(d.u64())}
	return m, d.done("clock")
}

// ClockCompare asks the guest to compare its clocks with the host's, by itself: it reads its own before and after the
// device that shows the host's, and no time passes in between that the way of a message takes on a busy host.
type ClockCompare struct {
	// GPA is the page of the device: the wall clock (offset 0), which is read first, and the kvmclock (offset 8), 8 bytes each.
	GPA uint64
}

// Type implements Message.
func (ClockCompare) Type() Type { return TypeCompare }

func (m ClockCompare) append(b []byte) []byte { return le.AppendUint64(b, m.GPA) }

func decodeClockCompare(p []byte) (ClockCompare, error) {
	d := decoder{b: p}
	m := ClockCompare{GPA: d.u64()}
	return m, d.done("clock comparison")
}

// MaxComparison is how far apart the guest's two readings of a Comparison may be.
const MaxComparison = time.Second

// Comparison is the reply of ClockCompare: the closest of several. The host's clocks were read within Width after the guest's.
type Comparison struct {
	Realtime     int64 // CLOCK_REALTIME of the guest, nanoseconds since 1970
	Raw          int64 // CLOCK_MONOTONIC_RAW, as in Clock
	Width        int64 // nanoseconds, 0 to MaxComparison
	HostRealtime int64 // as Realtime
	HostKVMClock int64 // nanoseconds
}

// Type implements Message.
func (Comparison) Type() Type { return TypeComparison }

func (m Comparison) append(b []byte) []byte {
	for _, v := range [...]int64{m.Realtime, m.Raw, m.Width, m.HostRealtime, m.HostKVMClock} {
		b = le.AppendUint64(b, uint64(v))
	}
	return b
}

func decodeComparison(p []byte) (Comparison, error) {
	d := decoder{b: p}
	m := Comparison{
		Realtime: int64(d.u64()), Raw: int64(d.u64()), Width: int64(d.u64()),
		HostRealtime: int64(d.u64()), HostKVMClock: int64(d.u64()),
	}
	d.bad = d.bad || m.Width < 0 || m.Width > int64(MaxComparison)
	return m, d.done("comparison")
}

// ClockAdjust steps the guest's wall clock; CLOCK_MONOTONIC goes on unchanged.
type ClockAdjust struct {
	Offset int64 // nanoseconds to add
}

// Type implements Message.
func (ClockAdjust) Type() Type { return TypeClockAdjust }

func (m ClockAdjust) append(b []byte) []byte { return le.AppendUint64(b, uint64(m.Offset)) }

func decodeClockAdjust(p []byte) (ClockAdjust, error) {
	d := decoder{b: p}
	m := ClockAdjust{Offset: int64(d.u64())}
	return m, d.done("clock adjustment")
}
