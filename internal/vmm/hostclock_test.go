package vmm

import (
	"encoding/binary"
	"testing"
	"time"
)

// The guest copies the host's clocks to its memory, and counts when it is done.
var clockCode = []byte{
	0xa1, 0x00, 0x00, 0x01, 0xd0, // mov eax, [0xd0010000]
	0xa3, 0x00, 0x60, 0x00, 0x00, // mov [0x6000], eax
	0xa1, 0x04, 0x00, 0x01, 0xd0,
	0xa3, 0x04, 0x60, 0x00, 0x00,
	0xa1, 0x08, 0x00, 0x01, 0xd0,
	0xa3, 0x08, 0x60, 0x00, 0x00,
	0xa1, 0x0c, 0x00, 0x01, 0xd0,
	0xa3, 0x0c, 0x60, 0x00, 0x00,
	0xff, 0x05, tinyCounter & 0xff, 0x50, 0x00, 0x00, // 1: inc dword [tinyCounter]
	0xeb, 0xf8, // jmp 1b
}

func TestGuestSeesTheHostsClocks(t *testing.T) {
	m, _ := boot(t, 1, clockCode)
	before := time.Now().UnixNano()
	must(t, m.Resume())
	awaitCounting(t, m, 0)
	after := time.Now().UnixNano()
	kvmclock, err := m.KVMClock()
	must(t, err)
	var b [16]byte
	must(t, m.Memory().ReadAt(b[:], 0x6000))
	if wall := int64(binary.LittleEndian.Uint64(b[:])); wall < before || wall > after {
		t.Errorf("the wall clock was %d, not from %d to %d", wall, before, after)
	}
	if taken := int64(binary.LittleEndian.Uint64(b[8:])); taken > kvmclock || taken < kvmclock-(time.Now().UnixNano()-before) {
		t.Errorf("the kvmclock was %d, and is %d", taken, kvmclock)
	}
}
