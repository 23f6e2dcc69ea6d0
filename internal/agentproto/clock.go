package agentproto

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
