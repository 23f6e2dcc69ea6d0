package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const vmID = "0123456789ab"

// fake is a hierarchy of plain files. Each group has the controllers and the subtree_control that are given.
func fake(t *testing.T, groups map[string][2]string) hierarchy {
	t.Helper()
	h := hierarchy{mount: t.TempDir(), root: true}
	h.self = h.mount
	for path, has := range groups {
		dir := filepath.Join(h.mount, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"cgroup.controllers", "cgroup.subtree_control"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(has[i]+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return h
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestJoinWritesTheLimits(t *testing.T) {
	h := fake(t, map[string][2]string{"": {"cpu memory pids", "memory"}, "clone": {"cpu memory pids", ""}})
	g, err := h.join(vmID, Limits{Memory: 300 << 20, CPU: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(h.mount, "clone", "clone-"+vmID); g.Path() != want {
		t.Errorf("group %s, want %s", g.Path(), want)
	}
	for file, want := range map[string]string{
		"memory.max": "314572800", "cpu.max": "50000 100000", "pids.max": "1024", "cgroup.procs": "0",
	} {
		if got := read(t, g.Path(), file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	if got := read(t, h.mount, "clone", "cgroup.subtree_control"); got != "+memory +pids +cpu" {
		t.Errorf("handed out: %q", got)
	}
	// Plain files are not a cgroup: rmdir(2) does not take them along.
	if err := g.Leave(); !errors.Is(err, syscall.ENOTEMPTY) || read(t, h.mount, "cgroup.procs") != "0" {
		t.Errorf("leave: %v", err)
	}
}

func TestJoinHandsControllersDown(t *testing.T) {
	h := fake(t, map[string][2]string{"": {"cpu memory pids", ""}, "user": {"", ""}, "user/app": {"", ""}, "user/app/own": {"", ""}})
	h.root, h.self = false, filepath.Join(h.mount, "user/app/own")
	// The kernel would list what was handed down; here nothing does, so each level is asked for all that it lacks.
	g, err := h.join(vmID, Limits{Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(h.mount, "user/app/clone-"+vmID); g.Path() != want {
		t.Errorf("group %s, want %s", g.Path(), want)
	}
	for _, path := range []string{"", "user", "user/app"} {
		if got := read(t, h.mount, path, "cgroup.subtree_control"); got != "+memory +pids" {
			t.Errorf("%q hands out %q", path, got)
		}
	}
	if _, err := os.Stat(filepath.Join(g.Path(), "cpu.max")); err == nil {
		t.Error("processor time is limited, and nobody asked for it")
	}
}

func TestJoinRefuses(t *testing.T) {
	h := fake(t, map[string][2]string{"": {"cpuset", ""}})
	_, err := h.join(vmID, Limits{Memory: 64 << 20})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "lacks memory, pids") {
		t.Errorf("no controllers: %v", err)
	}
	h.chosen = "/somewhere"
	if _, err := h.join(vmID, Limits{Memory: 64 << 20}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "CLONE_CGROUP=/somewhere") {
		t.Errorf("another place: %v", err)
	}
	for _, l := range []Limits{{Memory: 1}, {CPU: -1}, {CPU: 1e9}, {CPU: 0.001}} {
		if err := l.Check(); err == nil {
			t.Errorf("%+v: taken", l)
		}
	}
	for errno, want := range map[error]string{syscall.EACCES: "run as root", syscall.EROFS: "run as root", syscall.EBUSY: "processes are in that group"} {
		if err := explain(&os.PathError{Op: "open", Path: "x", Err: errno}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

func TestReap(t *testing.T) {
	h := fake(t, map[string][2]string{"clone": {"", ""}})
	for _, name := range []string{"clone-aaaaaaaaaaaa", "clone-bbbbbbbbbbbb", "clone-another", "other"} {
		if err := os.Mkdir(filepath.Join(h.mount, "clone", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.reap(func(id string) bool { return id == "bbbbbbbbbbbb" }); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, _ := os.ReadDir(filepath.Join(h.mount, "clone"))
	for _, e := range entries {
		if e.IsDir() {
			left = append(left, e.Name())
		}
	}
	if got := strings.Join(left, " "); got != "clone-another clone-bbbbbbbbbbbb other" {
		t.Errorf("left: %s", got)
	}
	if err := Remove(filepath.Join(h.mount, "clone", "other")); err == nil {
		t.Error("a group that is no VM's was removed")
	}
}

func TestReadsStatistics(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 0\n")
	if k, err := KillsOf(dir); k != (Kills{AtLimit: 1}) || err != nil {
		t.Errorf("%+v, %v", k, err)
	}
	write("memory.events", "oom 1\noom_kill 3\n")
	if k, err := KillsOf(dir); k != (Kills{Processes: 3, AtLimit: 1}) || err != nil {
		t.Errorf("%+v, %v", k, err)
	}
	write("memory.stat", "anon 9000\nkernel 1000\nkernel_stack 100\npagetables 200\nsec_pagetables 300\npercpu 50\nslab 250\nodd x\n")
	want := Kernel{Total: 1000, PageTables: 200, SecondaryPageTables: 300, Slab: 250, Stacks: 100, PerCPU: 50}
	if k, err := KernelOf(dir); err != nil || k != want {
		t.Errorf("%+v, %v", k, err)
	}
	write("memory.stat", "kernel_stack 100\npagetables 200\nslab 250\n")
	if k, err := KernelOf(dir); err != nil || k.Total != 550 {
		t.Errorf("without a sum: %+v, %v", k, err)
	}
	if _, err := KillsOf(filepath.Join(dir, "none")); err == nil {
		t.Error("a group that is not there answers")
	}
	write("memory.stat", "anon 400\nfile 300\nshmem 100\ninactive_file 120\nactive_file 80\n")
	write("memory.max", "1000\n")
	write("memory.current", "900\n")
	if u, err := UsageOf(dir); err != nil || u != (Usage{Max: 1000, Current: 900, Anon: 400, File: 200}) || u.Room() != 300 {
		t.Errorf("%+v, %v", u, err)
	}
	write("memory.max", "max\n")
	if u, err := UsageOf(dir); err != nil || u.Room() < 1<<63 {
		t.Errorf("without a limit: %+v, %v", u, err)
	}
	if _, err := UsageOf(filepath.Join(dir, "none")); err == nil {
		t.Error("a group that is not there has memory")
	}
	if room := (Usage{Max: 10, Current: 30, File: 5}).Room(); room != 0 {
		t.Errorf("above its limit: room for %d", room)
	}
	if got := ownGroup("1:cpu:/a\n0::/user.slice/x\n"); got != "/user.slice/x" {
		t.Errorf("own group %q", got)
	}
}
