package legacy

import "time"

// The order of the time registers in RTCState.Frozen.
const (
	slotSeconds = iota
	slotMinutes
	slotHours
	slotWeekday
	slotDay
	slotMonth
	slotYear
	slotCentury
	timeSlots
)

// timeSlot tells which time register index is.
func timeSlot(index uint8) (slot int, ok bool) {
	switch index {
	case rtcSeconds:
		return slotSeconds, true
	case rtcMinutes:
		return slotMinutes, true
	case rtcHours:
		return slotHours, true
	case rtcWeekday, rtcDay, rtcMonth, rtcYear:
		return slotWeekday + int(index-rtcWeekday), true
	case RTCCentury:
		return slotCentury, true
	}
	return 0, false
}

// updating tells whether the update cycle is near: the 244 µs before a second in which a reader must not begin to read.
func updating(t time.Time) bool { return t.Nanosecond() >= 1_000_000_000-244_000 }

// registers returns a copy of the time registers: as frozen, or of this moment.
func (r *RTC) registers() []byte {
	if r.state.Frozen != nil {
		return append([]byte(nil), r.state.Frozen...)
	}
	t := time.Unix(r.now().Unix()+r.state.OffsetSeconds, 0).UTC()
	regs := make([]byte, timeSlots)
	for slot, v := range [timeSlots]int{t.Second(), t.Minute(), t.Hour(), int(t.Weekday()) + 1, t.Day(), int(t.Month()),
		t.Year() % 100, t.Year() / 100} {
		regs[slot] = r.encode(slot, v)
	}
	return regs
}

// set makes regs the guest's time from now on. A date that does not exist is the day as many days later, as time.Date has it.
func (r *RTC) set(regs []byte) {
	v := func(slot int) int { return r.decode(slot, regs[slot]) }
	t := time.Date(v(slotCentury)*100+v(slotYear), time.Month(v(slotMonth)), v(slotDay),
		v(slotHours), v(slotMinutes), v(slotSeconds), 0, time.UTC)
	r.state.OffsetSeconds = t.Unix() - r.now().Unix()
}

const rtcPM = 1 << 7 // of the hours, on a 12-hour clock

func (r *RTC) encode(slot, v int) byte {
	var flag byte
	if slot == slotHours && r.state.NVRAM[rtcB]&rtcB24Hour == 0 {
		if v >= 12 {
			flag = rtcPM
		}
		v = (v+11)%12 + 1
	}
	if r.binary(slot) {
		return byte(v) | flag
	}
	return byte(v/10%10<<4|v%10) | flag
}

func (r *RTC) decode(slot int, b byte) int {
	twelve := slot == slotHours && r.state.NVRAM[rtcB]&rtcB24Hour == 0
	afternoon := twelve && b&rtcPM != 0
	if twelve {
		b &^= rtcPM
	}
	v := int(b)
	if !r.binary(slot) {
		v = int(b>>4)*10 + int(b&0xf)
	}
	if twelve {
		v %= 12
	}
	if afternoon {
		v += 12
	}
	return v
}

// binary tells how a register is coded. The century is BCD always: it is not one of the chip's own registers.
func (r *RTC) binary(slot int) bool {
	return slot != slotCentury && r.state.NVRAM[rtcB]&rtcBBinary != 0
}
