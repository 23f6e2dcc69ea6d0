package vmm

import (
	"testing"
	"time"
)

// haltCode prints 'A' and halts for ever: no interrupt is enabled.
var haltCode = []byte{
	0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xb0, 'A', // mov al, 'A'
	0xee,       // out dx, al
	0xf4,       // 1: hlt
	0xeb, 0xfd, // jmp 1b
}

// TestBusyTime: a guest that counts is busy, one that has halted is not.
func TestBusyTime(t *testing.T) {
	for _, c := range []struct {
		name string
		code []byte
		busy bool
	}{{"counting", tinyCode, true}, {"halted", haltCode, false}} {
		m, out := boot(t, 1, c.code)
		must(t, m.Resume())
		out.await(t, "A")
		before, err := m.BusyTime()
		must(t, err)
		const wait = 200 * time.Millisecond
		time.Sleep(wait) // it is what is measured
		after, err := m.BusyTime()
		must(t, err)
		if busy := after - before; c.busy != (busy > wait/20) {
			t.Errorf("%s: busy for %v of %v", c.name, busy, wait)
		}
	}
}
