package vmm

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"clone/internal/config"
	"clone/internal/guestmem"
	"clone/internal/x86"
)

// A tiny guest, in 32-bit protected mode: it prints 'A' on the serial port and then counts in memory, for ever.
const (
	tinyEntry   = 0x100000
	tinyCounter = 0x5000
)

var tinyCode = []byte{
	0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xb0, 'A', // mov al, 'A'
	0xee,                                             // out dx, al
	0xff, 0x05, tinyCounter & 0xff, 0x50, 0x00, 0x00, // 1: inc dword [tinyCounter]
	0xeb, 0xf8, // jmp 1b
}

// output collects what a guest prints.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	some chan struct{}
}

func newOutput() *output { return &output{some: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	select {
	case o.some <- struct{}{}:
	default:
	}
	return len(p), nil
}

// await waits until the guest has printed want.
func (o *output) await(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		o.mu.Lock()
		got := o.b.String()
		o.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-o.some:
		case <-deadline:
			t.Fatalf("the guest printed %q, not %q", got, want)
		}
	}
}

func tinyConfig(vcpus int) config.VM {
	return config.VM{Version: config.Version, MemoryMiB: config.MinMemoryMiB, VCPUs: vcpus, Slots: config.DefaultSlots()}
}

// loadCode is a Loader for code at tinyEntry.
func loadCode(code []byte) Loader {
	return func(mem *guestmem.Memory) (x86.BootRegs, error) {
		return x86.ProtectedMode(tinyEntry, 0), mem.WriteAt(code, tinyEntry)
	}
}

func boot(t *testing.T, vcpus int, code []byte) (*Machine, *output) {
	t.Helper()
	out := newOutput()
	m, err := Boot(tinyConfig(vcpus), config.NewIdentity(""), loadCode(code), Host{Console: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, out
}

func counter(t *testing.T, m *Machine) uint32 {
	t.Helper()
	var b [4]byte
	if err := m.Memory().ReadAt(b[:], tinyCounter); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(b[:])
}

func awaitCounting(t *testing.T, m *Machine, from uint32) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); counter(t, m) == from; {
		if time.Now().After(end) {
			t.Fatalf("the guest does not count beyond %d", from)
		}
		time.Sleep(time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// saved pauses a machine and returns its state through the file form, and its memory in a file.
func saved(t *testing.T, m *Machine) (*State, string) {
	t.Helper()
	must(t, m.Pause())
	st, err := m.Save()
	must(t, err)
	b, err := st.MarshalBinary()
	must(t, err)
	st, err = ParseState(b)
	must(t, err)
	path := filepath.Join(t.TempDir(), "memory")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for _, r := range m.Memory().Regions() {
		_, err := f.WriteAt(r.Host, int64(r.Offset))
		must(t, err)
	}
	return st, path
}

func restore(t *testing.T, cfg config.VM, st *State, path string) (*Machine, *output) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	mem, err := guestmem.MapPrivate(f, cfg.MemoryMiB<<20)
	must(t, err)
	out := newOutput()
	m, err := Restore(cfg, config.NewIdentity(""), mem, st, Origin{}, Host{Console: out})
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return m, out
}

func TestPauseStopsTheGuestAndResumeLetsItGoOn(t *testing.T) {
	m, out := boot(t, 1, tinyCode)
	must(t, m.Resume())
	out.await(t, "A")
	awaitCounting(t, m, 0)
	for range 100 {
		must(t, m.Pause())
		at := counter(t, m)
		time.Sleep(100 * time.Microsecond)
		if now := counter(t, m); now != at {
			t.Fatalf("the paused guest counted from %d to %d", at, now)
		}
		must(t, m.Resume())
		awaitCounting(t, m, at)
	}
}

// TestForksGoOnIndependently: forks go on from the saved instruction (none prints 'A' again), each with memory of its
// own, and the source goes on as well.
func TestForksGoOnIndependently(t *testing.T) {
	m, out := boot(t, 1, tinyCode)
	must(t, m.Resume())
	out.await(t, "A")
	awaitCounting(t, m, 0)
	st, path := saved(t, m)
	at := counter(t, m)
	var forks []*Machine
	for range 3 {
		f, fout := restore(t, m.Config(), st, path)
		if got := counter(t, f); got != at {
			t.Fatalf("a fork begins at %d, the snapshot is at %d", got, at)
		}
		must(t, f.Resume())
		awaitCounting(t, f, at)
		forks = append(forks, f)
		fout.await(t, "")
	}
	if got := counter(t, m); got != at {
		t.Errorf("the paused source was changed from %d to %d by its forks", at, got)
	}
	must(t, m.Resume())
	awaitCounting(t, m, at)
	for i, f := range forks {
		must(t, f.Pause())
		before := counter(t, f)
		awaitCounting(t, forks[(i+1)%3], 0)
		if got := counter(t, f); got != before {
			t.Errorf("fork %d was changed from %d to %d by another machine", i, before, got)
		}
		must(t, f.Resume())
	}
}

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		code []byte
		want Kind
	}{
		{"power off", []byte{0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef, 0xf4}, PowerOff}, // S5 to port 0x604
		{"reset", []byte{0xb0, 0xfe, 0xe6, 0x64, 0xf4}, Reboot},                                           // 0xfe to port 0x64
		{"triple fault", []byte{0x0f, 0x0b}, TripleFault},                                                 // ud2 without an IDT
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := boot(t, 1, c.code)
			must(t, m.Resume())
			select {
			case <-m.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("the machine has not ended")
			}
			if got := m.Outcome(); got.Kind != c.want {
				t.Errorf("ended as %v %v, want %v", got.Kind, got.Err, c.want)
			}
			if err := m.Pause(); err != ErrEnded {
				t.Errorf("pause of an ended machine: %v", err)
			}
		})
	}
}

func TestStopEndsARunningGuest(t *testing.T) {
	m, out := boot(t, 2, tinyCode)
	must(t, m.Resume())
	out.await(t, "A")
	m.Stop()
	<-m.Done()
	must(t, m.Close())
}

func TestStateRefusesDamage(t *testing.T) {
	m, out := boot(t, 1, tinyCode)
	must(t, m.Resume())
	out.await(t, "A")
	must(t, m.Pause())
	st, err := m.Save()
	must(t, err)
	good, err := st.MarshalBinary()
	must(t, err)
	for at := 0; at < len(good); at += 97 {
		b := bytes.Clone(good)
		b[at] ^= 1
		if _, err := ParseState(b); err == nil {
			t.Errorf("a flipped bit at %d was not seen", at)
		}
		if _, err := ParseState(good[:at]); err == nil {
			t.Errorf("a file cut at %d was not seen", at)
		}
	}
}

func FuzzParseState(f *testing.F) {
	f.Add(newWriter().finish())
	w := newWriter()
	w.bytes([]byte("{}"))
	w.bytes(nil)
	w.uint32(0)
	w.uint32(1)
	w.vcpu(&vcpuState{})
	f.Add(w.finish())
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum keeps random damage out; what gets past it must be survived too.
		w := &writer{append([]byte(stateMagic), b...)}
		_, _ = ParseState(w.finish())
		_, _ = ParseState(b)
	})
}
