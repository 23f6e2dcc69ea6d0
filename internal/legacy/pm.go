package legacy

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"time"

	"clone/internal/x86"
)

// PM is the ACPI power management block: the PM1a event and control registers and the PM timer (ACPI 6.5 §4.8). It has the
// power button and the soft-off state S5; there is no sleep button, no wake-up, and no timer interrupt.
type PM struct {
	sci      func(level bool)
	powerOff func()
	elapsed  func() time.Duration // since some fixed moment, monotonic

	mu       sync.Mutex
	state    PMState
	timedAt  time.Duration // when state.Timer was right
	sciLevel bool          // as last reported
}

// PMState is the whole state of a PM.
type PMState struct {
	// Status, Enable and Control are PM1a_STS, PM1a_EN and PM1a_CNT.
	Status  uint16 `json:"status"`
	Enable  uint16 `json:"enable"`
	Control uint16 `json:"control"`
	// Timer is the PM timer in ticks of 1/3579545 s. It goes on from here.
	Timer uint32 `json:"timer"`
}

const (
	pmTimerHz = 3579545

	pm1Global      = 1 << 5  // GBL: enabled by ACPICA, never raised
	pm1PowerButton = 1 << 8  // PWRBTN
	pm1RTC         = 1 << 10 // RTC_EN: enabled by Linux' RTC driver, never raised
	pm1Events      = pm1Global | pm1PowerButton | pm1RTC

	pm1SCIEnable  = 1 << 0 // SCI_EN: ACPI mode, always
	pm1SleepShift = 10     // SLP_TYP
	pm1SleepType  = 7 << pm1SleepShift
	pm1SleepGo    = 1 << 13 // SLP_EN, reads zero
)

// Offsets from x86.PortPM1Event.
const (
	pmStatus  = 0
	pmEnable  = 2
	pmControl = x86.PortPM1Cnt - x86.PortPM1Event
	pmTimer   = x86.PortPMTimer - x86.PortPM1Event
)

// NewPM returns a block after reset. sci is called at each change of the interrupt line (GSI 9, level-triggered, active
// high); powerOff, on the vCPU thread and with nothing locked, when the guest enters S5.
func NewPM(sci func(level bool), powerOff func()) *PM {
	start := time.Now()
	return &PM{sci: sci, powerOff: powerOff, elapsed: func() time.Duration { return time.Since(start) },
		state: PMState{Control: pm1SCIEnable}}
}

// Read answers a read of len(p) bytes at port. The bytes of one access are of one moment.
func (m *PM) Read(port uint16, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var regs [x86.PortPMLen]byte
	binary.LittleEndian.PutUint16(regs[pmStatus:], m.state.Status)
	binary.LittleEndian.PutUint16(regs[pmEnable:], m.state.Enable)
	binary.LittleEndian.PutUint16(regs[pmControl:], m.state.Control)
	binary.LittleEndian.PutUint32(regs[pmTimer:], m.timer())
	for i := range p {
		p[i] = 0xff
		if offset := port + uint16(i) - x86.PortPM1Event; offset < x86.PortPMLen {
			p[i] = regs[offset]
		}
	}
}

// Write takes a write of len(p) bytes at port.
func (m *PM) Write(port uint16, p []byte) {
	off := false
	m.mu.Lock()
	for i, b := range p {
		offset := port + uint16(i) - x86.PortPM1Event
		shift := offset % 2 * 8
		value, mask := uint16(b)<<shift, uint16(0xff)<<shift
		switch offset &^ 1 {
		case pmStatus: // writing a one clears it
			m.state.Status &^= value
		case pmEnable:
			m.state.Enable = (m.state.Enable&^mask | value) & pm1Events
		case pmControl:
			off = m.state.control(value, mask) || off
		}
	}
	m.update()
	m.mu.Unlock()
	if off {
		m.powerOff()
	}
}

// control writes PM1a_CNT and reports whether the guest entered S5. The sleep states that the DSDT does not offer do nothing.
func (s *PMState) control(value, mask uint16) (off bool) {
	s.Control = (s.Control&^mask|value)&pm1SleepType | pm1SCIEnable
	return value&pm1SleepGo != 0 && s.Control&pm1SleepType == x86.SleepTypeS5<<pm1SleepShift
}

// PowerButton presses the power button. A guest that has not enabled the event takes no notice.
func (m *PM) PowerButton() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Status |= pm1PowerButton
	m.update()
}

func (m *PM) update() {
	if level := m.state.level(); level != m.sciLevel {
		m.sciLevel = level
		m.sci(level)
	}
}

func (s *PMState) level() bool { return s.Status&s.Enable&pm1Events != 0 }

// timer returns the PM timer of this moment.
func (m *PM) timer() uint32 {
	hi, lo := bits.Mul64(uint64(m.elapsed()-m.timedAt), pmTimerHz)
	ticks, _ := bits.Div64(hi, lo, uint64(time.Second)) // hi < 2^22 < a second
	return m.state.Timer + uint32(ticks)
}

// Save returns a copy of the state.
func (m *PM) Save() PMState {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.state
	st.Timer = m.timer()
	return st
}

// Load replaces the state and drives the interrupt line.
func (m *PM) Load(st PMState) error {
	if st.Status&^pm1Events != 0 || st.Enable&^pm1Events != 0 || st.Control&^pm1SleepType != pm1SCIEnable {
		return fmt.Errorf("pm state: status %#x, enable %#x, control %#x: unknown bits", st.Status, st.Enable, st.Control)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state, m.timedAt = st, m.elapsed()
	m.sciLevel = m.state.level()
	m.sci(m.sciLevel)
	return nil
}
