package guestmem

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The kernel knows the ranges that HostRanges names, and that nothing is reserved for them.
func TestHostRangesAreTheKernels(t *testing.T) {
	m, err := NewAnonymous(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Mergeable(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\n"+m.HostRanges()+" ")
	if !ok {
		t.Fatalf("no mapping %s", m.HostRanges())
	}
	_, rest, _ = strings.Cut(rest, "VmFlags:")
	flags, _, _ := strings.Cut(rest, "\n")
	if f := strings.Fields(flags); !slices.Contains(f, "nr") || !slices.Contains(f, "mg") {
		t.Errorf("the mapping's flags are %q: want nr (not reserved) and mg (mergeable)", flags)
	}
}

func BenchmarkMergeable(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		m, err := NewAnonymous(512 << 20)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := m.Mergeable(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		m.Close()
		b.StartTimer()
	}
}
