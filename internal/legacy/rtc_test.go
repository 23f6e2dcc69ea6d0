package legacy

import (
	"reflect"
	"testing"
	"time"

	"clone/internal/x86"
)

// clockAt returns an RTC on a host whose time is *host.
func clockAt(host *time.Time) *RTC {
	r := NewRTC()
	r.now = func() time.Time { return *host }
	return r
}

func get(r *RTC, index uint8) uint8 {
	r.Write(x86.PortRTC, []byte{index})
	var b [1]byte
	r.Read(x86.PortRTC+1, b[:])
	return b[0]
}

func put(r *RTC, index, v uint8) {
	r.Write(x86.PortRTC, []byte{index})
	r.Write(x86.PortRTC+1, []byte{v})
}

var timeIndexes = []uint8{RTCCentury, rtcYear, rtcMonth, rtcDay, rtcWeekday, rtcHours, rtcMinutes, rtcSeconds}

func all8(r *RTC) (out [8]uint8) {
	for i, index := range timeIndexes {
		out[i] = get(r, index)
	}
	return out
}

func TestRTCTime(t *testing.T) {
	zone := time.FixedZone("east", 5*3600)
	for _, tc := range []struct {
		name string
		host time.Time
		b    uint8
		want [8]uint8 // century, year, month, day, weekday, hours, minutes, seconds
	}{
		{"bcd", time.Date(2026, 11, 23, 20, 9, 58, 0, time.UTC), rtcB24Hour, [8]uint8{0x20, 0x26, 0x11, 0x23, 2, 0x20, 0x09, 0x58}},
		{"utc", time.Date(2027, 1, 1, 2, 0, 0, 0, zone), rtcB24Hour, [8]uint8{0x20, 0x26, 0x12, 0x31, 5, 0x21, 0, 0}},
		{"binary", time.Date(2026, 11, 22, 20, 9, 58, 0, time.UTC), rtcB24Hour | rtcBBinary, [8]uint8{0x20, 26, 11, 22, 1, 20, 9, 58}},
		{"12 hours, evening", time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC), 0, [8]uint8{0x20, 0x26, 0x11, 0x23, 2, 0x88, 0, 0}},
		{"12 hours, midnight", time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), 0, [8]uint8{0x20, 0x26, 0x11, 0x23, 2, 0x12, 0, 0}},
		{"12 hours, noon", time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), rtcBBinary, [8]uint8{0x20, 26, 11, 23, 2, 0x8c, 0, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := clockAt(&tc.host)
			put(r, rtcB, tc.b)
			if got := all8(r); got != tc.want {
				t.Errorf("%x, want %x", got, tc.want)
			}
			// What is read, written back with the clock stopped, is the same time.
			put(r, rtcB, tc.b|rtcBSet)
			for i, index := range timeIndexes {
				put(r, index, tc.want[i])
			}
			put(r, rtcB, tc.b)
			if r.state.OffsetSeconds != 0 {
				t.Errorf("writing the time back moved it by %d s", r.state.OffsetSeconds)
			}
		})
	}
}

func TestRTCSet(t *testing.T) {
	host := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r := clockAt(&host)
	put(r, rtcB, rtcB24Hour|rtcBSet)
	host = host.Add(3 * time.Second)
	if got := get(r, rtcSeconds); got != 0 {
		t.Errorf("the clock runs while it is set: %x", got)
	}
	put(r, rtcHours, 0x15)
	put(r, rtcDay, 0x24)
	put(r, rtcB, rtcB24Hour)
	if want := int64(27*3600 - 3); r.state.OffsetSeconds != want {
		t.Errorf("offset %d s, want %d", r.state.OffsetSeconds, want)
	}
	host = host.Add(time.Minute)
	if get(r, rtcHours) != 0x15 || get(r, rtcMinutes) != 0x01 || get(r, rtcDay) != 0x24 {
		t.Errorf("a minute later: %x", all8(r))
	}
	put(r, rtcMinutes, 0x30) // without SET
	if get(r, rtcMinutes) != 0x30 || get(r, rtcHours) != 0x15 {
		t.Errorf("after writing the minutes: %x", all8(r))
	}
}

func TestRTCUpdateInProgress(t *testing.T) {
	for _, tc := range []struct {
		ns   int
		want bool
	}{{0, false}, {500_000_000, false}, {999_755_999, false}, {999_756_000, true}, {999_999_999, true}} {
		host := time.Date(2026, 11, 23, 12, 0, 0, tc.ns, time.UTC)
		r := clockAt(&host)
		if got := get(r, rtcA)&rtcAUpdate != 0; got != tc.want {
			t.Errorf("%d ns into the second: %v", tc.ns, got)
		}
		put(r, rtcB, rtcB24Hour|rtcBSet)
		if get(r, rtcA)&rtcAUpdate != 0 {
			t.Errorf("%d ns: an update of a stopped clock", tc.ns)
		}
	}
}

func TestRTCRegisters(t *testing.T) {
	host := time.Unix(0, 0)
	r := clockAt(&host)
	put(r, 0x40, 0x5a)
	put(r, rtcC, 0xff)
	put(r, rtcD, 0)
	put(r, rtcB, 0x7a) // with interrupt enables
	for _, tc := range []struct{ index, want uint8 }{{0x40, 0x5a}, {0xc0, 0x5a}, {rtcC, 0}, {rtcD, rtcDValid}, {rtcA, rtcADivider}, {rtcB, 0x02}} {
		if got := get(r, tc.index); got != tc.want {
			t.Errorf("register %#x: %#x, want %#x", tc.index, got, tc.want)
		}
	}
	var b [1]byte
	if r.Read(x86.PortRTC, b[:]); b[0] != 0xff {
		t.Errorf("the index port reads %#x", b[0])
	}
}

// Saved while the guest is setting the time, and restored an hour later: the half-set time is kept, and a clock that runs
// shows the time of the restore.
func TestRTCSaveLoad(t *testing.T) {
	host := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a := clockAt(&host)
	put(a, 0x40, 0x5a)
	running := throughJSON(t, a.Save())
	put(a, rtcB, rtcB24Hour|rtcBSet)
	put(a, rtcHours, 0x05)
	setting := throughJSON(t, a.Save())

	later := host.Add(time.Hour)
	b := clockAt(&later)
	if err := b.Load(running); err != nil {
		t.Fatal(err)
	}
	if get(b, rtcHours) != 0x13 || get(b, 0x40) != 0x5a {
		t.Errorf("restored: %x", all8(b))
	}
	if err := b.Load(setting); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(b.Save(), setting) {
		t.Errorf("saved %+v, restored %+v", setting, b.Save())
	}
	put(b, rtcB, rtcB24Hour)
	if get(b, rtcHours) != 0x05 || get(b, rtcDay) != 0x23 {
		t.Errorf("set: %x", all8(b))
	}
	for _, bad := range []RTCState{{}, {NVRAM: make([]byte, rtcSize), Index: 200}, {NVRAM: make([]byte, rtcSize), Frozen: []byte{1}}} {
		if b.Load(bad) == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func FuzzRTC(f *testing.F) {
	f.Add([]byte{0, 1, 0x0b, 1, 1, 0x82, 0, 1, 9, 1, 1, 0xff, 0, 1, 0x0b, 1, 1, 2, 0, 1, 0x32, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewRTC()
		fuzzPorts(data, x86.PortRTC, x86.PortRTCLen, r.Read, r.Write)
		if err := NewRTC().Load(r.Save()); err != nil {
			t.Fatalf("a saved state is refused: %v", err)
		}
	})
}
