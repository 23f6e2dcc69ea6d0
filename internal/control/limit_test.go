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

// What the kernel killed, and why, is told apart by the group's counts.
func TestKillsOfOtherKinds(t *testing.T) {
	for name, c := range map[string]struct {
		events string
		vm     Info
		why    string
		at     bool
	}{
		"its limit":               {"oom 1\noom_kill 1\n", Info{MemMax: 64 << 20}, "it reached its memory limit (--mem-max 64M)", true},
		"the host, with a limit":  {"oom 0\noom_kill 1\n", Info{MemMax: 64 << 20}, "the host's memory ran out", false},
		"the host, without":       {"oom 0\noom_kill 1\n", Info{}, "the host's memory ran out", false},
		"a copy only":             {"oom 3\noom_kill 2\n", Info{MemMax: 64 << 20, CopiesKilled: 2}, "", false},
		"a copy, then the VM":     {"oom 4\noom_kill 3\n", Info{MemMax: 64 << 20, CopiesKilled: 2}, "it reached its memory limit", true},
		"nobody, at limits often": {"max 9\noom 0\noom_kill 0\n", Info{MemMax: 64 << 20}, "", false},
	} {
		c.vm.Cgroup = filepath.Join(t.TempDir(), "clone-0123456789ab")
		if err := os.Mkdir(c.vm.Cgroup, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.vm.Cgroup, "memory.events"), []byte(c.events), 0o644); err != nil {
			t.Fatal(err)
		}
		if why, at := leaveGroup(c.vm); !strings.HasPrefix(why, c.why) || (why == "") != (c.why == "") || at != c.at {
			t.Errorf("%s: %q, %v", name, why, at)
		}
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 1000: "1000", 300 << 20: "300M", 1 << 30: "1G", 1536 << 20: "1536M", 5 << 50: "5120T"} {
		if got := SizeText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
