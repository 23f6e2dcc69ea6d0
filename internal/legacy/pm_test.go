package legacy

import (
	"encoding/binary"
	"testing"
	"time"

	"clone/internal/x86"
)

type pm struct {
	*PM
	irq  line
	offs int
	time time.Duration
}

func newPM() *pm {
	m := &pm{}
	m.PM = NewPM(m.irq.set, func() { m.offs++; m.Save() }) // Save: it is called unlocked
	m.elapsed = func() time.Duration { return m.time }
	return m
}

func (m *pm) in16(port uint16) uint16 {
	var b [2]byte
	m.Read(port, b[:])
	return binary.LittleEndian.Uint16(b[:])
}

func (m *pm) out16(port, v uint16) { m.Write(port, binary.LittleEndian.AppendUint16(nil, v)) }

func (m *pm) ticks() uint32 {
	var b [4]byte
	m.Read(x86.PortPMTimer, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func TestPMPowerOff(t *testing.T) {
	const s5 = x86.SleepTypeS5 << pm1SleepShift
	for _, tc := range []struct {
		name  string
		write []uint16
		offs  int
	}{
		{"as ACPICA does", []uint16{s5, s5 | pm1SleepGo}, 1},
		{"type without enable", []uint16{s5}, 0},
		{"another state", []uint16{1<<pm1SleepShift | pm1SleepGo}, 0},
		{"enable without type", []uint16{s5, pm1SleepGo}, 0},
	} {
		m := newPM()
		for _, v := range tc.write {
			m.out16(x86.PortPM1Cnt, v)
		}
		if m.offs != tc.offs {
			t.Errorf("%s: %d, want %d", tc.name, m.offs, tc.offs)
		}
		if v := m.in16(x86.PortPM1Cnt); v&pm1SCIEnable == 0 || v&pm1SleepGo != 0 {
			t.Errorf("%s: control reads %#x", tc.name, v)
		}
	}
	m := newPM()
	m.Write(x86.PortPM1Cnt+1, []byte{(s5 | pm1SleepGo) >> 8})
	if m.offs != 1 {
		t.Error("a byte access does not power off")
	}
}

func TestPMPowerButton(t *testing.T) {
	m := newPM()
	m.PowerButton()
	if m.irq.level {
		t.Error("an interrupt that is not enabled")
	}
	m.out16(x86.PortPM1Event+pmEnable, 0xffff)
	if got := m.in16(x86.PortPM1Event + pmEnable); got != pm1Events {
		t.Errorf("enable %#x", got)
	}
	if !m.irq.level || m.in16(x86.PortPM1Event) != pm1PowerButton {
		t.Errorf("enabled late: line %v, status %#x", m.irq.level, m.in16(x86.PortPM1Event))
	}
	m.out16(x86.PortPM1Event, 0)
	if !m.irq.level {
		t.Error("writing zeros cleared the status")
	}
	m.out16(x86.PortPM1Event, pm1PowerButton)
	if m.irq.level || m.in16(x86.PortPM1Event) != 0 {
		t.Error("the status is not cleared")
	}
	m.PowerButton()
	if m.irq.edges != 2 {
		t.Errorf("%d interrupts, want 2", m.irq.edges)
	}
}

func TestPMTimer(t *testing.T) {
	m := newPM()
	for _, tc := range []struct {
		at   time.Duration
		want uint32
	}{
		{0, 0},
		{time.Second, pmTimerHz},
		{time.Hour, uint32(3600 * uint64(pmTimerHz) & 0xffffffff)},
		{100 * 365 * 24 * time.Hour, uint32(100 * 365 * 24 * 3600 * uint64(pmTimerHz) & 0xffffffff)},
	} {
		if m.time = tc.at; m.ticks() != tc.want {
			t.Errorf("after %v: %d, want %d", tc.at, m.ticks(), tc.want)
		}
	}
}

func TestPMSaveLoad(t *testing.T) {
	a := newPM()
	a.out16(x86.PortPM1Event+pmEnable, pm1PowerButton)
	a.out16(x86.PortPM1Cnt, x86.SleepTypeS5<<pm1SleepShift) // the first half of a power-off
	a.PowerButton()
	a.time = 10 * time.Second
	saved := throughJSON(t, a.Save())

	b := newPM()
	b.time = time.Hour // another process, another clock
	if err := b.Load(saved); err != nil {
		t.Fatal(err)
	}
	if b.Save() != saved || !b.irq.level {
		t.Errorf("saved %+v, restored %+v, line %v", saved, b.Save(), b.irq.level)
	}
	b.time += time.Second
	if got := b.ticks(); got != 11*pmTimerHz {
		t.Errorf("the timer is at %d, want %d", got, 11*pmTimerHz)
	}
	b.out16(x86.PortPM1Event, pm1PowerButton)
	if b.irq.level {
		t.Error("the line stays high")
	}
	for _, bad := range []PMState{{}, {Control: pm1SCIEnable, Status: 1}, {Control: pm1SCIEnable, Enable: 1}} {
		if b.Load(bad) == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func FuzzPM(f *testing.F) {
	f.Add([]byte{2, 3, 0, 1, 0, 2, 4, 3, 0, 0x34, 8, 4})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newPM()
		m.PowerButton()
		fuzzPorts(data, x86.PortPM1Event, x86.PortPMLen, m.Read, m.Write)
		n := newPM()
		if err := n.Load(m.Save()); err != nil {
			t.Fatalf("a saved state is refused: %v", err)
		}
		if n.irq.level != m.irq.level {
			t.Fatalf("line %v, restored %v", m.irq.level, n.irq.level)
		}
	})
}
