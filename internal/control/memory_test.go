package control

import (
	"errors"
	"os"
	"testing"
)

func TestMemoryOf(t *testing.T) {
	m, err := MemoryOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if m.PrivateDirty == 0 || m.Resident < m.PrivateDirty || m.Resident < 1<<20 || m.Resident > 1<<34 {
		t.Errorf("implausible: %+v", m)
	}
	if _, err := MemoryOf(1 << 30); !errors.Is(err, ErrGone) {
		t.Errorf("no such process: %v", err)
	}
}

func TestParseSmaps(t *testing.T) {
	m, err := parseSmaps("55d0-7ff [rollup]\nRss: 100 kB\nShared_Clean:  10 kB\nShared_Dirty: 20 kB\n" +
		"Private_Clean: 30 kB\nPrivate_Dirty: 40 kB\nSwap: 5 kB\nSwapPss: 1 kB\n")
	want := Memory{Resident: 100 << 10, Shared: 30 << 10, PrivateClean: 30 << 10, PrivateDirty: 40 << 10, Swapped: 5 << 10}
	if err != nil || m != want {
		t.Errorf("%+v, %v; want %+v", m, err, want)
	}
	if _, err := parseSmaps("Rss: many kB\n"); err == nil {
		t.Error("nonsense was read")
	}
}
