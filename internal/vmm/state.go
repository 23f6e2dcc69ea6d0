package vmm

import (
	"encoding/json"
	"fmt"

	"clone/internal/legacy"
	"clone/internal/virtio/mmio"
)

// State is everything of a machine that is not guest memory or configuration: what design calls the machine state.
// It is opaque outside this package; MarshalBinary and ParseState carry it through a file.
type State struct {
	vcpus    []*vcpuState
	irqchips [][]byte // both PICs and the IOAPIC
	pit      []byte
	board    boardState
}

// boardState is the part of the state that is ours: small, and readable in a dump.
type boardState struct {
	Clocks clocks       `json:"clocks"`
	Legacy legacyState  `json:"legacy"`
	Slots  []mmio.State `json:"slots"` // of every slot, empty ones included
}

type legacyState struct {
	Serial legacy.SerialState `json:"serial"`
	I8042  legacy.I8042State  `json:"i8042"`
	RTC    legacy.RTCState    `json:"rtc"`
	PM     legacy.PMState     `json:"pm"`
}

// MarshalBinary gives the file form.
func (s *State) MarshalBinary() ([]byte, error) {
	board, err := json.Marshal(&s.board)
	if err != nil {
		return nil, err
	}
	w := newWriter()
	w.bytes(board)
	w.bytes(s.pit)
	w.uint32(uint32(len(s.irqchips)))
	for _, chip := range s.irqchips {
		w.bytes(chip)
	}
	w.uint32(uint32(len(s.vcpus)))
	for _, v := range s.vcpus {
		w.vcpu(v)
	}
	return w.finish(), nil
}

// ParseState reads the file form, which may be damaged or of another version.
func ParseState(b []byte) (*State, error) {
	r, err := newReader(b)
	if err != nil {
		return nil, err
	}
	s := &State{}
	board := r.bytes()
	s.pit = r.bytes()
	for range r.count(4) {
		s.irqchips = append(s.irqchips, r.bytes())
	}
	for range r.count(12) {
		s.vcpus = append(s.vcpus, r.vcpu())
	}
	if r.err == nil && len(r.b) != 0 {
		r.err = fmt.Errorf("%w: %d bytes too many", errDamagedState, len(r.b))
	}
	if r.err == nil {
		r.err = json.Unmarshal(board, &s.board)
	}
	if r.err != nil {
		return nil, r.err
	}
	if n := len(s.vcpus); n == 0 || n != len(s.board.Clocks.TSC) {
		return nil, fmt.Errorf("%w: %d vCPUs, %d clocks", errDamagedState, n, len(s.board.Clocks.TSC))
	}
	return s, nil
}
