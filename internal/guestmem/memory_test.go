package guestmem

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

const testRAM = 1 << 20

func anonymous(t testing.TB, size uint64) *Memory {
	t.Helper()
	m, err := NewAnonymous(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		size  uint64
		bases []uint64
	}{
		{PageSize, []uint64{0}},
		{HoleStart - PageSize, []uint64{0}},
		{HoleStart, []uint64{0}},
		{HoleStart + PageSize, []uint64{0, HoleEnd}},
		{64 << 30, []uint64{0, HoleEnd}},
	} {
		regions := Split(c.size)
		if len(regions) != len(c.bases) {
			t.Errorf("%#x bytes in %d regions, want %d", c.size, len(regions), len(c.bases))
			continue
		}
		for i, r := range regions {
			if r.GPA != c.bases[i] || r.Offset != uint64(i)*HoleStart || r.Host != nil {
				t.Errorf("%#x bytes: region %d is %+v", c.size, i, r)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	for _, size := range []uint64{0, 1, PageSize - 1, PageSize + 1, 1 << 62, ^uint64(0) &^ (PageSize - 1)} {
		if m, err := NewAnonymous(size); err == nil {
			t.Errorf("RAM of %#x bytes is mapped", size)
			_ = m.Close()
		}
	}
	for _, size := range []uint64{PageSize, HoleStart, HoleStart + PageSize, 5 << 30} {
		m := anonymous(t, size)
		total := uint64(0)
		for _, r := range m.Regions() {
			total += uint64(len(r.Host))
		}
		if m.Size() != size || total != size {
			t.Errorf("RAM of %#x bytes has %#x, regions %#x", size, m.Size(), total)
		}
	}
}

// TestAlignment: a guest's huge page is a huge page of the host's address space.
func TestAlignment(t *testing.T) {
	for range 20 {
		m, err := NewAnonymous(3 << 20)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		for _, r := range m.Regions() {
			if at := address(r.Host); at%hugePage != r.GPA%hugePage {
				t.Errorf("guest-physical %#x is at %#x", r.GPA, at)
			}
		}
	}
}

func TestTranslation(t *testing.T) {
	const high = 16 * PageSize
	m := anonymous(t, HoleStart+high)
	for _, c := range []struct {
		gpa, n uint64
		ok     bool
	}{
		{0, 0, true}, {0, 1, true}, {0, HoleStart, true}, {0, HoleStart + 1, false},
		{HoleStart - 1, 1, true}, {HoleStart - 1, 2, false}, {HoleStart, 0, true}, {HoleStart, 1, false},
		{HoleStart + 1, 0, false}, {HoleEnd - 1, 1, false}, {HoleEnd - 1, 2, false},
		{HoleStart - 1, 1<<30 + 2, false}, // over the whole hole
		{HoleEnd, 0, true}, {HoleEnd, high, true}, {HoleEnd, high + 1, false}, {HoleEnd + high - 1, 1, true},
		{HoleEnd + high, 0, true}, {HoleEnd + high, 1, false},
		{^uint64(0), 0, false}, {^uint64(0), 1, false}, {^uint64(0), ^uint64(0), false}, {1, ^uint64(0), false},
		{HoleEnd, ^uint64(0), false}, {HoleEnd + 1, ^uint64(0) - HoleEnd, false},
	} {
		b, err := m.Bytes(c.gpa, c.n)
		if (err == nil) != c.ok || uint64(len(b)) != c.n && c.ok || cap(b) != len(b) {
			t.Errorf("Bytes(%#x, %#x): %d bytes, capacity %d, %v", c.gpa, c.n, len(b), cap(b), err)
		}
		if err != nil && !errors.Is(err, ErrOutside) {
			t.Errorf("Bytes(%#x, %#x): %v does not wrap ErrOutside", c.gpa, c.n, err)
		}
	}
}

func TestReadWrite(t *testing.T) {
	m := anonymous(t, HoleStart+PageSize)
	for _, gpa := range []uint64{0, 5, HoleStart - 4, HoleEnd, HoleEnd + PageSize - 4} {
		if err := m.WriteAt([]byte("word"), gpa); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if err := m.ReadAt(got, gpa); err != nil || string(got) != "word" {
			t.Errorf("at %#x: %q, %v", gpa, got, err)
		}
	}
	got := []byte("kept")
	if err := m.ReadAt(got, HoleStart-2); !errors.Is(err, ErrOutside) || string(got) != "kept" {
		t.Errorf("read into the hole: %q, %v", got, err)
	}
	if err := m.WriteAt([]byte("lost"), HoleEnd-2); !errors.Is(err, ErrOutside) {
		t.Errorf("write out of the hole: %v", err)
	}
	if err := m.ReadAt(got[:2], HoleEnd); err != nil || string(got[:2]) != "wo" {
		t.Errorf("a write that was refused went half way: %q, %v", got[:2], err)
	}
}

// image is a file of size bytes, each page filled with its own number.
func image(t *testing.T, size int) *os.File {
	t.Helper()
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i / PageSize)
	}
	name := filepath.Join(t.TempDir(), "memory")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestMapPrivate checks that two machines over one image share what they read and nothing that they write.
func TestMapPrivate(t *testing.T) {
	f := image(t, testRAM)
	var machines []*Memory
	for range 2 {
		m, err := MapPrivate(f, testRAM)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		machines = append(machines, m)
	}
	if err := machines[0].WriteAt([]byte("mine"), 7*PageSize); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if err := machines[1].ReadAt(got, 7*PageSize); err != nil || !bytes.Equal(got, []byte{7, 7, 7, 7}) {
		t.Errorf("the sibling reads % x, %v", got, err)
	}
	if _, err := f.ReadAt(got, 7*PageSize); err != nil || !bytes.Equal(got, []byte{7, 7, 7, 7}) {
		t.Errorf("the image reads % x, %v", got, err)
	}
}

// TestMapPrivateAboveHole checks that RAM above the hole comes from where it is in the image.
func TestMapPrivateAboveHole(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "memory"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(HoleStart + PageSize); err != nil { // a hole but for its last page
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("above"), HoleStart); err != nil {
		t.Fatal(err)
	}
	m, err := MapPrivate(f, HoleStart+PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got := make([]byte, 5)
	if err := m.ReadAt(got, HoleEnd); err != nil || string(got) != "above" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestMapPrivateRefuses(t *testing.T) {
	f := image(t, testRAM)
	if _, err := MapPrivate(f, testRAM+PageSize); err == nil {
		t.Error("a truncated image is mapped")
	}
	if _, err := MapPrivate(f, 100); err == nil {
		t.Error("RAM of 100 bytes is mapped")
	}
	_ = f.Close()
	if _, err := MapPrivate(f, testRAM); err == nil {
		t.Error("a closed image is mapped")
	}
}

func TestWord16(t *testing.T) {
	m := anonymous(t, testRAM)
	w, err := m.Word16(0x1002)
	if err != nil {
		t.Fatal(err)
	}
	w.Store(0xabcd)
	got := make([]byte, 6)
	if err := m.ReadAt(got, 0x1000); err != nil || !bytes.Equal(got, []byte{0, 0, 0xcd, 0xab, 0, 0}) {
		t.Errorf("memory is % x, %v", got, err)
	}
	if w.Load() != 0xabcd {
		t.Errorf("word is %#x", w.Load())
	}
	if _, err := m.Word16(testRAM - 2); err != nil {
		t.Error(err)
	}
	for _, gpa := range []uint64{0x1001, testRAM, testRAM - 1, HoleStart, ^uint64(0), ^uint64(1)} {
		if _, err := m.Word16(gpa); err == nil {
			t.Errorf("word at %#x", gpa)
		}
	}
}

// TestWordOrder is the store-buffer test: each side stores its own word and reads the other's after a fence. Without the
// fence both can read zero, and a ring's two sides would each wait for the other.
func TestWordOrder(t *testing.T) {
	const rounds, steps, line = 20, 4000, 64
	m := anonymous(t, testRAM)
	var words [2][steps]Word16
	for side := range words {
		for i := range words[side] {
			w, err := m.Word16(uint64(side*testRAM/2 + i*line))
			if err != nil {
				t.Fatal(err)
			}
			words[side][i] = w
		}
	}
	for round := range rounds {
		var saw [2][steps]uint16
		var ready atomic.Int32
		var sides sync.WaitGroup
		for side := range 2 {
			sides.Go(func() {
				for i := range steps {
					words[side][i].Store(0)
				}
				for i := range steps {
					ready.Add(1) // the two take each step at the same instant
					for spins := 0; ready.Load() < int32(2*(i+1)); spins++ {
						if spins > 1000 {
							runtime.Gosched()
						}
					}
					words[side][i].Store(1)
					Fence()
					saw[side][i] = words[1-side][i].Load()
				}
			})
		}
		sides.Wait()
		for i := range steps {
			if saw[0][i]+saw[1][i] == 0 {
				t.Fatalf("round %d, step %d: both sides missed the other's store", round, i)
			}
		}
	}
}

func FuzzBytes(f *testing.F) {
	f.Add(uint64(0), uint64(1))
	f.Add(uint64(HoleStart-1), uint64(2))
	f.Add(uint64(HoleEnd), uint64(PageSize))
	f.Add(^uint64(0), ^uint64(0))
	m := anonymous(f, HoleStart+PageSize)
	f.Fuzz(func(t *testing.T, gpa, n uint64) {
		b, err := m.Bytes(gpa, n)
		if err == nil && uint64(len(b)) != n || err != nil && !errors.Is(err, ErrOutside) {
			t.Fatalf("Bytes(%#x, %#x): %d bytes, %v", gpa, n, len(b), err)
		}
		if n > 0 && err == nil {
			_ = b[0] + b[n-1] // a fault where it is not RAM
		}
	})
}
