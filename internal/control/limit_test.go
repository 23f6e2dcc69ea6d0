package control

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A VM whose control group counts a kill is told of by name, id and PID after it was reaped.
func TestEndAtTheMemoryLimit(t *testing.T) {
	r := testRegistry(t)
	group := filepath.Join(t.TempDir(), "clone-0123456789ab")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	events := filepath.Join(group, "memory.events")
	if err := os.WriteFile(events, []byte("oom 1\noom_kill 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := create(t, r, Info{Name: "hungry", PID: 4242, MemMax: 300 << 20})
	if err := d.Update(func(i *Info) { i.Cgroup = group }); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.EndOf(d.Info().ID, 0); ok {
		t.Error("a VM that lives has ended")
	}
	d.lock.Close() // as the end of the process would
	e, ok := r.EndOf(d.Info().ID, 0)
	if !ok || !e.AtLimit || e.Name != "hungry" || !strings.Contains(e.Reason, "memory limit (--mem-max 300M)") {
		t.Errorf("%+v, %v", e, ok)
	}
	if e, ok := r.EndOf("", 4242); !ok || e.ID != d.Info().ID {
		t.Errorf("by its PID: %+v, %v", e, ok)
	}
	for _, ref := range []string{"hungry", d.Info().ID, d.Info().ID[:6], "4242"} {
		if _, err := r.Find(ref); !errors.Is(err, ErrNoVM) || !strings.Contains(err.Error(), "memory limit") {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := r.Find("other"); !errors.Is(err, ErrNoVM) || strings.Contains(err.Error(), "memory limit") {
		t.Errorf("another name: %v", err)
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 1000: "1000", 300 << 20: "300M", 1 << 30: "1G", 1536 << 20: "1536M", 5 << 50: "5120T"} {
		if got := SizeText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
