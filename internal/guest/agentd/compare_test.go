package agentd

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clone/internal/agentproto"
	"clone/internal/legacy"
	"clone/internal/x86"
)

// clockDevice is the device of a machine that has it.
type clockDevice struct {
	clock *legacy.HostClock
	lag   func() time.Duration // that the first register takes to be read
	fresh bool                 // a fork that did not read the first register
}

func (c clockDevice) Uint64(offset int) uint64 {
	if offset == legacy.HostClockWall {
		time.Sleep(c.lag())
		if c.fresh {
			return uint64(time.Now().UnixNano()) // read before the fork
		}
	}
	var b [8]byte
	c.clock.Read(uint64(offset), b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func (clockDevice) Close() error { return nil }

func TestCompare(t *testing.T) {
	now := func() (int64, int64) { return time.Now().UnixNano(), time.Now().UnixNano() - 5e9 }
	lag, turn := []time.Duration{20 * time.Millisecond, 10 * time.Millisecond, 0, 30 * time.Millisecond}, -1
	device := clockDevice{clock: legacy.NewHostClock(now), lag: func() time.Duration { turn++; return lag[turn%len(lag)] }}
	r := &recorder{offset: int64(time.Hour), raw: 7, clock: device}
	compare := func() agentproto.Message { return (&Server{System: r}).compare(x86.HostClockAddr) }

	m, ok := compare().(agentproto.Comparison)
	if !ok || m.Raw != 7 || (m.HostRealtime-m.HostKVMClock-5e9)/1e9 != 0 {
		t.Fatalf("%+v", m)
	}
	if least := m.HostRealtime + int64(time.Hour) - m.Width; m.Realtime < least || m.Realtime > least+m.Width || m.Width > 8e6 {
		t.Errorf("%+v: the guest's clock is an hour ahead, and the third reading was without a pause", m)
	}

	// Somebody sets the clock back while it is read.
	turn = -1
	device.lag = func() time.Duration {
		if turn++; turn < 2 {
			r.offset -= int64(time.Minute)
		}
		return lag[turn%len(lag)]
	}
	r.clock = device
	if m, ok := compare().(agentproto.Comparison); !ok || turn < 2 || m.Width > 8e6 {
		t.Errorf("%+v", m)
	}

	absent := func(what string) {
		t.Helper()
		if m := compare(); m.Type() != agentproto.TypeError {
			t.Errorf("%s: %+v", what, m)
		}
	}
	device.fresh, device.clock = true, legacy.NewHostClock(now)
	r.clock = device
	absent("a fork that was made between two readings")
	r.clock = floating{}
	absent("a machine without the device")
	r.clock = nil
	absent("a kernel that lets nobody map it")
}

// The device shows what the last reader of its first register took: two that compare at once would get half of each other's.
func TestComparisonsAtOnce(t *testing.T) {
	var reading atomic.Int64
	now := func() (int64, int64) {
		n := reading.Add(1) & 0xff
		return n<<48 | n, n
	}
	s := &Server{System: &recorder{clock: clockDevice{clock: legacy.NewHostClock(now), lag: func() time.Duration { return 0 }}}}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 1000 {
				m, ok := s.compare(x86.HostClockAddr).(agentproto.Comparison)
				if ok && (m.HostRealtime>>48 != m.HostRealtime&0xff || m.HostKVMClock != m.HostRealtime&0xff) {
					t.Errorf("%x", m)
					return
				}
			}
		})
	}
	wg.Wait()
}

// floating is where nobody answers.
type floating struct{}

func (floating) Uint64(int) uint64 { return math.MaxUint64 }
func (floating) Close() error      { return nil }
