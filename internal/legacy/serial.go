package legacy

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrClosed is returned by Serial.Input when the port was closed.
var ErrClosed = errors.New("serial port is closed")

// Serial is a 16550A UART. What the guest sends leaves at once, at no line speed; what it is sent waits until it is read.
type Serial struct {
	out       *Sink
	interrupt func(level bool)

	mu     sync.Mutex
	room   sync.Cond // the receive FIFO has room, or the port is closed
	regs   uart
	level  bool // of the interrupt line, as last reported
	closed bool
}

// NewSerial returns a port in its reset state that writes what the guest sends to out, from a goroutine of its own until
// Close. interrupt is called at each change of the interrupt line (GSI 4 for COM1).
func NewSerial(out io.Writer, interrupt func(level bool)) *Serial {
	s := &Serial{out: NewSink(out), interrupt: interrupt, regs: newUART()}
	s.room.L = &s.mu
	return s
}

// Read answers a read of len(p) bytes at port.
func (s *Serial) Read(port uint16, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range p {
		p[i] = s.regs.read((port + uint16(i)) & 7)
	}
	s.update()
}

// Write takes a write of len(p) bytes at port.
func (s *Serial) Write(port uint16, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, b := range p {
		if sent := s.regs.write((port+uint16(i))&7, b); sent {
			_, _ = s.out.Write([]byte{b}) // a sink takes everything
		}
	}
	s.update()
}

// update reports a changed interrupt line, and room for input.
func (s *Serial) update() {
	if level := s.regs.pending() != iirNone; level != s.level {
		s.level = level
		s.interrupt(level)
	}
	if s.regs.room() > 0 {
		s.room.Broadcast()
	}
}

// Input gives p to the guest and blocks its caller, never the guest, until the guest has taken all but the last FIFO full
// of it. It returns how many bytes were taken, and ErrClosed when that is not all because of Close.
func (s *Serial) Input(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := 0
	for taken < len(p) {
		for s.regs.room() == 0 && !s.closed {
			s.room.Wait()
		}
		if s.closed {
			return taken, ErrClosed
		}
		n := min(s.regs.room(), len(p)-taken)
		s.regs.receive(p[taken : taken+n])
		taken += n
		s.update()
	}
	return taken, nil
}

// Dropped returns how many bytes of output a slow reader has lost.
func (s *Serial) Dropped() uint64 { return s.out.Dropped() }

// Close ends pending Input calls, writes what the guest had sent, and waits for the goroutine (see Sink.Close). The
// registers go on answering.
func (s *Serial) Close() {
	s.mu.Lock()
	s.closed = true
	s.room.Broadcast()
	s.mu.Unlock()
	s.out.Close()
}

// SerialState is the machine's side of a Serial. Output on its way to the reader is not part of it: it has left the machine.
type SerialState struct {
	IER      uint8  `json:"ier"`
	FCR      uint8  `json:"fcr"`
	LCR      uint8  `json:"lcr"`
	MCR      uint8  `json:"mcr"`
	SCR      uint8  `json:"scr"`
	Divisor  uint16 `json:"divisor"`
	MSRDelta uint8  `json:"msr_delta"`
	Overrun  bool   `json:"overrun"`
	THREmpty bool   `json:"thr_empty_pending"`
	Receive  []byte `json:"receive"`
}

// Save returns a copy of the state.
func (s *Serial) Save() SerialState {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &s.regs
	return SerialState{u.ier, u.fcr, u.lcr, u.mcr, u.scr, u.divisor, u.msrDelta, u.overrun, u.thrEmpty, append([]byte{}, u.rx...)}
}

// Load replaces the state and drives the interrupt line.
func (s *Serial) Load(st SerialState) error {
	if st.IER&^ierMask != 0 || st.FCR&^fcrKept != 0 || st.MCR&^mcrMask != 0 || st.MSRDelta&^msrDeltas != 0 {
		return fmt.Errorf("serial state: ier %#x, fcr %#x, mcr %#x, msr %#x: unknown bits", st.IER, st.FCR, st.MCR, st.MSRDelta)
	}
	u := uart{ier: st.IER, fcr: st.FCR, lcr: st.LCR, mcr: st.MCR, scr: st.SCR, divisor: st.Divisor,
		msrDelta: st.MSRDelta, overrun: st.Overrun, thrEmpty: st.THREmpty, rx: append([]byte(nil), st.Receive...)}
	if len(u.rx) > fifoSize {
		return fmt.Errorf("serial state: %d received bytes in a fifo of %d", len(u.rx), fifoSize)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regs = u
	s.level = u.pending() != iirNone
	s.interrupt(s.level)
	s.room.Broadcast()
	return nil
}
