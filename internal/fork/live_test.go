package fork_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"clone/internal/config"
	"clone/internal/fork"
	"clone/internal/guestmem"
	"clone/internal/snapshot"
	"clone/internal/vmm"
	"clone/internal/x86"
)

// A guest that writes without end, in 32-bit protected mode: it counts in EBX, and stores each count in the first word of
// every one of its pages, in order. At any instant some of the first pages have a count, and the others the one before.
const (
	entry      = 0x100000
	firstPage  = 0x400000
	writePages = 2000
)

var writer = []byte{
	0x31, 0xdb, // xor ebx, ebx
	0x43,                         // 1: inc ebx
	0xbf, 0x00, 0x00, 0x40, 0x00, // mov edi, firstPage
	0xb9, 0xd0, 0x07, 0x00, 0x00, // mov ecx, writePages
	0x89, 0x1f, // 2: mov [edi], ebx
	0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, // add edi, 4096
	0x49,       // dec ecx
	0x75, 0xf5, // jnz 2b
	0xeb, 0xe8, // jmp 1b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStore(t *testing.T) *snapshot.Store {
	t.Helper()
	s, err := snapshot.OpenStore(t.TempDir())
	must(t, err)
	return s
}

// boot starts the writing guest. It says that it has an agent, which nobody here asks for anything.
func boot(t *testing.T) *vmm.Machine {
	t.Helper()
	return bootCode(t, writer)
}

// bootCode starts a guest of other instructions.
func bootCode(t *testing.T, code []byte) *vmm.Machine {
	t.Helper()
	cfg := config.VM{Version: config.Version, MemoryMiB: config.MinMemoryMiB, VCPUs: 1, Agent: true, Slots: config.DefaultSlots()}
	load := func(mem *guestmem.Memory) (x86.BootRegs, error) {
		return x86.ProtectedMode(entry, 0), mem.WriteAt(code, entry)
	}
	m, err := vmm.Boot(cfg, config.NewIdentity(""), load, vmm.Host{Console: io.Discard})
	must(t, err)
	t.Cleanup(func() { m.Close() })
	must(t, m.Resume())
	return m
}

// store stores a running machine, over parent if there is one, and returns for how long it stood still.
func store(t *testing.T, s *snapshot.Store, m *vmm.Machine, name string, base, parent *snapshot.Template) time.Duration {
	t.Helper()
	w, err := s.Create(name, snapshot.Manifest{Config: m.Config(), CPU: snapshot.CPU{BootID: fork.BootID()}})
	must(t, err)
	defer w.Abort()
	frozen, err := m.Freeze()
	must(t, err)
	defer frozen.Memory.Close()
	c := snapshot.Contents{Own: frozen.Memory}
	if base != nil {
		c.Base = base.Image()
	}
	if parent == nil {
		err = w.Memory(t.Context(), c)
	} else {
		err = w.Layer(t.Context(), c, parent)
	}
	must(t, errors.Join(err, w.State(frozen.State)))
	_, err = w.Commit()
	must(t, err)
	return frozen.Stood
}

func open(t *testing.T, s *snapshot.Store, name string) *snapshot.Template {
	t.Helper()
	tpl, err := s.Open(name)
	must(t, err)
	t.Cleanup(tpl.Close)
	return tpl
}

// restore makes a fork, paused.
func restore(t *testing.T, s *snapshot.Store, name string) (*fork.Source, *vmm.Machine) {
	t.Helper()
	src, err := fork.Open(s, name, fork.Options{})
	must(t, err)
	t.Cleanup(src.Close)
	m, err := src.Machine(vmm.Host{Console: io.Discard})
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return src, m
}

// word is the count in a page.
func word(t *testing.T, m *vmm.Machine, page int) uint32 {
	t.Helper()
	var b [4]byte
	must(t, m.Memory().ReadAt(b[:], uint64(firstPage+page*guestmem.PageSize)))
	return binary.LittleEndian.Uint32(b[:])
}

// checkCut checks that a machine that has not run yet holds the pages of one instant, and returns the count.
func checkCut(t *testing.T, m *vmm.Machine) uint32 {
	t.Helper()
	n := word(t, m, 0)
	for page, now := 1, n; page < writePages; page++ {
		got := word(t, m, page)
		if got != now && (now != n || got != n-1) {
			t.Fatalf("page %d has count %d after pages with %d: no instant was like this", page, got, now)
		}
		now = got
	}
	return n
}

// awaitCounting waits until a machine has gone round its pages a few times more.
func awaitCounting(t *testing.T, m *vmm.Machine, from uint32) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		// Of the last page, which is reached last.
		if word(t, m, writePages-1) > from+2 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the guest does not count beyond %d", from)
		}
	}
}

// TestLiveSnapshotIsOneInstant stores a guest again and again while it writes as fast as it can: whole, then each time over
// the one before. It fails when the memory of the running guest is read.
func TestLiveSnapshotIsOneInstant(t *testing.T) {
	s := newStore(t)
	m := boot(t)
	awaitCounting(t, m, 0)
	var parent *snapshot.Template
	last := uint32(0)
	for i := range 24 {
		name := fmt.Sprintf("t%d", i)
		if i%8 == 0 {
			parent = nil
		}
		stood := store(t, s, m, name, nil, parent)
		parent = open(t, s, name)
		_, f := restore(t, s, name)
		n := checkCut(t, f)
		if n <= last {
			t.Errorf("snapshot %d is at %d, the one before at %d", i, n, last)
		}
		last = n
		must(t, f.Resume())
		awaitCounting(t, f, n)
		awaitCounting(t, m, n)
		t.Logf("count %d, %d KiB stored, stood still for %v", n, parent.Manifest.Memory.StoredBytes>>10, stood)
		f.Close()
	}
}

// TestFreezeLeavesAPausedMachinePaused stores a machine that its user has paused.
func TestFreezeLeavesAPausedMachinePaused(t *testing.T) {
	s := newStore(t)
	m := boot(t)
	awaitCounting(t, m, 0)
	must(t, m.Pause())
	before := checkCut(t, m)
	if stood := store(t, s, m, "paused", nil, nil); stood != 0 {
		t.Errorf("it stood still for %v more", stood)
	}
	time.Sleep(5 * time.Millisecond)
	if now := checkCut(t, m); now != before {
		t.Errorf("it went on from %d to %d", before, now)
	}
	must(t, m.Resume())
	awaitCounting(t, m, before)
}

// TestForksOfForks goes five levels down while every machine on the way runs on.
func TestForksOfForks(t *testing.T) {
	s := newStore(t)
	m := boot(t)
	awaitCounting(t, m, 0)
	store(t, s, m, "level0", nil, nil)
	machines := []*vmm.Machine{m}
	for level := 1; level <= 5; level++ {
		src, f := restore(t, s, fmt.Sprintf("level%d", level-1))
		n := checkCut(t, f)
		// A page that says which levels it came through, and one of each level.
		mark := []byte{byte(level)}
		must(t, f.Memory().WriteAt(mark, 0x300000))
		must(t, f.Memory().WriteAt(mark, 0x300000+uint64(level)*guestmem.PageSize))
		must(t, src.Warm(f, math.MaxUint64))
		must(t, f.Resume())
		awaitCounting(t, f, n)
		must(t, src.NoteHot(f))
		store(t, s, f, fmt.Sprintf("level%d", level), src.Base(), src.Base())
		machines = append(machines, f)
	}
	for level := range 6 {
		_, f := restore(t, s, fmt.Sprintf("level%d", level))
		checkCut(t, f)
		for page := range 6 {
			want := byte(0)
			switch {
			case page == 0:
				want = byte(level)
			case page <= level:
				want = byte(page)
			}
			var got [1]byte
			must(t, f.Memory().ReadAt(got[:], 0x300000+uint64(page)*guestmem.PageSize))
			if got[0] != want {
				t.Errorf("level %d: page %d is of level %d, not %d", level, page, got[0], want)
			}
		}
		src, f := restore(t, s, fmt.Sprintf("level%d", level))
		must(t, src.Warm(f, math.MaxUint64)) // with the note of the first
		must(t, f.Resume())
		awaitCounting(t, f, word(t, f, 0))
	}
	for _, m := range machines {
		awaitCounting(t, m, word(t, m, 0))
	}
}

// TestForkOfATemplateThatIsRemoved stores it whole: it holds what it came from.
func TestForkOfATemplateThatIsRemoved(t *testing.T) {
	s := newStore(t)
	m := boot(t)
	awaitCounting(t, m, 0)
	store(t, s, m, "base", nil, nil)
	src, f := restore(t, s, "base")
	n := checkCut(t, f)
	must(t, s.Remove([]string{"base"}, false))
	must(t, f.Resume())
	awaitCounting(t, f, n)
	store(t, s, f, "whole", src.Base(), nil)
	_, g := restore(t, s, "whole")
	checkCut(t, g)
}
