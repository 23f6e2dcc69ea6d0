package legacy

import (
	"fmt"
	"sync"
	"time"

	"clone/internal/x86"
)

// RTC is an MC146818A real-time clock with 128 bytes of registers: the host's time in UTC, which the guest may set. It has no
// alarm and raises no interrupt; register C reads zero.
type RTC struct {
	now func() time.Time

	mu    sync.Mutex
	state RTCState
}

// RTCState is the whole state of an RTC.
type RTCState struct {
	// Index is the register that port 0x71 accesses.
	Index uint8 `json:"index"`
	// NVRAM holds every register that is not time and not computed.
	NVRAM []byte `json:"nvram"`
	// OffsetSeconds is the guest's time minus the host's: after a restore the clock shows the time of the restore.
	OffsetSeconds int64 `json:"offset_seconds"`
	// Frozen is the time of day in registers 0, 2, 4, 6-9 and the century while SET stops the clock, nil while it runs.
	Frozen []byte `json:"frozen,omitempty"`
}

const rtcSize = 128

// Registers (MC146818A table 3). The century is where the FADT says that it is.
const (
	rtcSeconds = 0x00
	rtcMinutes = 0x02
	rtcHours   = 0x04
	rtcWeekday = 0x06
	rtcDay     = 0x07
	rtcMonth   = 0x08
	rtcYear    = 0x09
	rtcA       = 0x0a
	rtcB       = 0x0b
	rtcC       = 0x0c
	rtcD       = 0x0d
	// RTCCentury is the index of the century register, in BCD like the others.
	RTCCentury = 0x32
)

const (
	rtcAUpdate  = 1 << 7
	rtcADivider = 0x26 // 32768 Hz, as a PC's firmware leaves it

	rtcBSet    = 1 << 7
	rtcBBinary = 1 << 2
	rtcB24Hour = 1 << 1
	rtcBKept   = 0x87 // interrupt enables do not stick: there are none

	rtcDValid = 1 << 7
)

// NewRTC returns a clock that shows the host's time, in BCD and 24 hours.
func NewRTC() *RTC {
	r := &RTC{now: time.Now, state: RTCState{NVRAM: make([]byte, rtcSize)}}
	r.state.NVRAM[rtcA] = rtcADivider
	r.state.NVRAM[rtcB] = rtcB24Hour
	return r
}

// Read answers a read of port 0x71; the index port 0x70 can only be written.
func (r *RTC) Read(port uint16, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range p {
		p[i] = 0xff
		if port+uint16(i) == x86.PortRTC+1 {
			p[i] = r.read(r.state.Index)
		}
	}
}

// Write takes a write to port 0x70 (index; bit 7 is the NMI mask) or 0x71 (data).
func (r *RTC) Write(port uint16, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range p {
		switch port + uint16(i) {
		case x86.PortRTC:
			r.state.Index = b & (rtcSize - 1)
		case x86.PortRTC + 1:
			r.write(r.state.Index, b)
		}
	}
}

func (r *RTC) read(index uint8) uint8 {
	if slot, ok := timeSlot(index); ok {
		return r.registers()[slot]
	}
	switch index {
	case rtcA:
		v := r.state.NVRAM[rtcA]
		if r.state.Frozen == nil && updating(r.now()) {
			v |= rtcAUpdate
		}
		return v
	case rtcC:
		return 0
	case rtcD:
		return rtcDValid
	}
	return r.state.NVRAM[index]
}

func (r *RTC) write(index, v uint8) {
	if slot, ok := timeSlot(index); ok {
		regs := r.registers()
		regs[slot] = v
		if r.state.Frozen != nil {
			r.state.Frozen = regs
			return
		}
		r.set(regs)
		return
	}
	switch index {
	case rtcA:
		r.state.NVRAM[rtcA] = v &^ rtcAUpdate
	case rtcB:
		r.writeB(v & rtcBKept)
	case rtcC, rtcD: // read-only
	default:
		r.state.NVRAM[index] = v
	}
}

// writeB stops and starts the clock with SET, and chooses the form of the time registers. Both change at once: the form is
// in force before the time is taken or read.
func (r *RTC) writeB(v uint8) {
	stopped := r.state.Frozen != nil
	if !stopped && v&rtcBSet != 0 {
		r.state.NVRAM[rtcB] = v
		r.state.Frozen = r.registers()
		return
	}
	r.state.NVRAM[rtcB] = v
	if stopped && v&rtcBSet == 0 {
		regs := r.state.Frozen
		r.state.Frozen = nil
		r.set(regs)
	}
}

// Save returns a copy of the state.
func (r *RTC) Save() RTCState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.clone()
}

func (s RTCState) clone() RTCState {
	s.NVRAM = append([]byte(nil), s.NVRAM...)
	s.Frozen = append([]byte(nil), s.Frozen...) // nil stays nil
	return s
}

// Load replaces the state.
func (r *RTC) Load(st RTCState) error {
	if len(st.NVRAM) != rtcSize || st.Index >= rtcSize {
		return fmt.Errorf("rtc state: %d bytes, index %d: need %d bytes", len(st.NVRAM), st.Index, rtcSize)
	}
	if n := len(st.Frozen); n != 0 && n != timeSlots {
		return fmt.Errorf("rtc state: %d time registers, need %d", n, timeSlots)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = st.clone()
	return nil
}
