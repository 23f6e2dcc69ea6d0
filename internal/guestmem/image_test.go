package guestmem

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

const chunk = 2 << 20

// TestChunkOverAnImage: a chunk is what the guest sees, whichever of its pages it has touched, and reading it maps none.
func TestChunkOverAnImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory")
	image := make([]byte, 4*chunk)
	for i := range image[:chunk] {
		image[i] = byte(i / PageSize)
	}
	if err := os.WriteFile(path, image[:chunk], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4*chunk); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := MapPrivate(f, 4*chunk)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, at := range []int{5 * PageSize, 5*PageSize + 17, chunk - 1, 2*chunk + 3*PageSize} {
		image[at] = 0xee
		if err := m.WriteAt([]byte{0xee}, uint64(at)); err != nil {
			t.Fatal(err)
		}
	}
	before, err := m.Touched()
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off < len(image); off += chunk {
		got, err := m.Chunk(uint64(off), chunk)
		if err != nil {
			t.Fatal(err)
		}
		if known := off == chunk || off == 3*chunk; known != (got == nil) {
			t.Errorf("chunk at %#x: known to be zero is %v", off, got == nil)
		}
		if got != nil && !bytes.Equal(got, image[off:off+chunk]) {
			t.Errorf("chunk at %#x differs", off)
		}
	}
	after, err := m.Touched()
	if err != nil || len(after) != len(before) {
		t.Errorf("%d ranges mapped before, %d after: %v", len(before), len(after), err)
	}
}

// TestChunkOfAnonymousMemory: what the guest never touched is known to be zero.
func TestChunkOfAnonymousMemory(t *testing.T) {
	m, err := NewAnonymous(2 * chunk)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.WriteAt([]byte{1}, chunk+100); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Chunk(0, chunk); err != nil || got != nil {
		t.Errorf("untouched: %d bytes, %v", len(got), err)
	}
	got, err := m.Chunk(chunk, chunk)
	if err != nil || len(got) != chunk || got[100] != 1 || got[101] != 0 {
		t.Errorf("touched: %d bytes, %v", len(got), err)
	}
	if _, err := m.Chunk(chunk, 2*chunk); err == nil {
		t.Error("a chunk beyond the end was given")
	}
}
