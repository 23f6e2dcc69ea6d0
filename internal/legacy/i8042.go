package legacy

import (
	"fmt"
	"sync"

	"clone/internal/x86"
)

// I8042 is a keyboard controller with nothing plugged in. It is there because "pulse the reset line" is how a PC reboots;
// the rest lets a driver that probes it find out soon that there is neither keyboard nor mouse. It raises no interrupt.
type I8042 struct {
	reset func()

	mu    sync.Mutex
	state I8042State
}

// I8042State is the whole state of an I8042.
type I8042State struct {
	// Config is the "command byte": interrupt enables, system flag, port disables.
	Config uint8 `json:"config"`
	// Output is the byte waiting at port 0x60 if Full.
	Output uint8 `json:"output"`
	Full   bool  `json:"full"`
	// Command is the command that waits for its parameter at port 0x60, 0 if none.
	Command uint8 `json:"command"`
}

const (
	kbdStatusFull    = 1 << 0
	kbdStatusCommand = 1 << 3
	kbdStatusUnlock  = 1 << 4

	kbdConfigSystem  = 1 << 2
	kbdConfigKbdOff  = 1 << 4
	kbdConfigAuxOff  = 1 << 5
	kbdOutputNoReset = 1 << 0
)

// Controller commands, written to port 0x64.
const (
	kbdReadConfig  = 0x20
	kbdWriteConfig = 0x60
	kbdAuxOff      = 0xa7
	kbdAuxOn       = 0xa8
	kbdAuxTest     = 0xa9
	kbdSelfTest    = 0xaa
	kbdTest        = 0xab
	kbdOff         = 0xad
	kbdOn          = 0xae
	kbdReadOutput  = 0xd0
	kbdWriteOutput = 0xd1
	kbdWriteKbd    = 0xd2
	kbdWriteAux    = 0xd3
	kbdSendAux     = 0xd4
	kbdPulse       = 0xf0 // to 0xff: pulses low the output lines whose bit is zero; bit 0 is the reset line
)

// NewI8042 returns a controller after its power-on test. reset is called, on the vCPU thread and with nothing locked, each
// time the guest pulls the reset line.
func NewI8042(reset func()) *I8042 {
	return &I8042{reset: reset, state: I8042State{Config: kbdConfigSystem | kbdConfigKbdOff | kbdConfigAuxOff}}
}

// Read answers a read of ports 0x60 (output buffer) and 0x64 (status); other ports float.
func (k *I8042) Read(port uint16, p []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range p {
		switch port + uint16(i) {
		case x86.PortI8042:
			p[i] = k.state.Output
			k.state.Full = false
		case x86.PortI8042Cmd:
			p[i] = k.state.status()
		default:
			p[i] = 0xff
		}
	}
}

func (s *I8042State) status() uint8 {
	v := uint8(kbdStatusUnlock | s.Config&kbdConfigSystem)
	if s.Full {
		v |= kbdStatusFull
	}
	if s.Command != 0 {
		v |= kbdStatusCommand
	}
	return v
}

// Write takes a write to ports 0x60 (a parameter, or a byte for the keyboard that is not there) and 0x64 (a command).
func (k *I8042) Write(port uint16, p []byte) {
	reset := false
	k.mu.Lock()
	for i, b := range p {
		switch port + uint16(i) {
		case x86.PortI8042:
			reset = k.state.data(b) || reset
		case x86.PortI8042Cmd:
			reset = k.state.command(b) || reset
		}
	}
	k.mu.Unlock()
	if reset {
		k.reset()
	}
}

func (s *I8042State) answer(b uint8) { s.Output, s.Full = b, true }

// command executes b, or keeps it until its parameter comes. It reports whether the reset line was pulled.
func (s *I8042State) command(b uint8) (reset bool) {
	s.Command = 0
	switch b {
	case kbdReadConfig:
		s.answer(s.Config)
	case kbdWriteConfig, kbdWriteOutput, kbdWriteKbd, kbdWriteAux, kbdSendAux:
		s.Command = b
	case kbdAuxOff:
		s.Config |= kbdConfigAuxOff
	case kbdAuxOn:
		s.Config &^= kbdConfigAuxOff
	case kbdAuxTest:
		s.answer(0x01) // the clock line is stuck: there is no mouse port
	case kbdSelfTest:
		s.answer(0x55)
	case kbdTest:
		s.answer(0x00)
	case kbdOff:
		s.Config |= kbdConfigKbdOff
	case kbdOn:
		s.Config &^= kbdConfigKbdOff
	case kbdReadOutput:
		s.answer(kbdOutputNoReset | 1<<1) // reset not pulled, A20 open
	default:
		return b >= kbdPulse && b&kbdOutputNoReset == 0
	}
	return false
}

func (s *I8042State) data(b uint8) (reset bool) {
	command := s.Command
	s.Command = 0
	switch command {
	case kbdWriteConfig:
		s.Config = b
	case kbdWriteOutput:
		return b&kbdOutputNoReset == 0
	case kbdWriteKbd, kbdWriteAux:
		// Not marked as the mouse's: that is how Linux sees, without waiting, that there is no mouse port.
		s.answer(b)
	}
	return false
}

// Save returns a copy of the state.
func (k *I8042) Save() I8042State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// Load replaces the state.
func (k *I8042) Load(st I8042State) error {
	switch st.Command {
	case 0, kbdWriteConfig, kbdWriteOutput, kbdWriteKbd, kbdWriteAux, kbdSendAux:
	default:
		return fmt.Errorf("i8042 state: command %#x takes no parameter", st.Command)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = st
	return nil
}
