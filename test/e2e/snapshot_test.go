package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clone/internal/control"
)

// TestSnapshotLeavesTheSourceAlone snapshots a VM in the middle of work.
func TestSnapshotLeavesTheSourceAlone(t *testing.T) {
	h := forkHost(t)
	source := h.fork(t, "base", "--name", "source")
	h.startCounter(t, source)
	before := h.askSelf(t, source)
	e := h.startEcho(t, source)
	numbers := h.command(t.Context(), "exec", "--vm-id", source, "--", "sh", "-c", "for i in $(seq 30); do echo $i; sleep 0.1; done")
	var printed bytes.Buffer
	numbers.Stdout = &printed
	if err := numbers.Start(); err != nil {
		t.Fatal(err)
	}
	h.snapshot(t, source, "alive")
	fork := h.fork(t, "alive")
	e.awaitMore(t)
	e.finish(t)
	if err := numbers.Wait(); err != nil {
		t.Errorf("a command that ran during the snapshot: %v", err)
	}
	var want strings.Builder
	for i := 1; i <= 30; i++ {
		fmt.Fprintln(&want, i)
	}
	if printed.String() != want.String() {
		t.Errorf("it printed %q", printed.String())
	}
	after := h.askSelf(t, source)
	for _, key := range []string{"hostname", "machineid", "vmid", "reseeds"} {
		if before.values[key] != after.values[key] {
			t.Errorf("the source's %s was %s and is %s", key, before.values[key], after.values[key])
		}
	}
	if after.values["hostname"] != "source" || h.infoOf(t, source).State != control.Running {
		t.Errorf("the source is %s: %+v", after.values["hostname"], h.infoOf(t, source))
	}
	h.awaitCount(t, source, after.number(t, "counter")+2)
	h.awaitCount(t, fork, before.number(t, "counter")+2)
	h.checkClock(t, source)
}

// TestSnapshotRefusals asks for templates that cannot be.
func TestSnapshotRefusals(t *testing.T) {
	h := forkHost(t)
	vm := h.fork(t, "base")
	manifest, err := os.ReadFile(filepath.Join(h.dir, "home", "templates", "base", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	h.fails(t, "template exists: base", "snapshot", "--vm-id", vm, "--name", "base")
	if now, err := os.ReadFile(filepath.Join(h.dir, "home", "templates", "base", "manifest.json")); err != nil || !bytes.Equal(now, manifest) {
		t.Errorf("the template that has the name was changed: %v", err)
	}
	for _, name := range []string{"", ".hidden", "../up", strings.Repeat("x", 64)} {
		h.fails(t, "is no template name", "snapshot", "--vm-id", vm, "--name="+name)
	}
	h.fails(t, "no such VM", "snapshot", "--vm-id", "nobody", "--name", "x")

	// A guest that is still booting.
	boot := h.command(t.Context(), "run", "--kernel", kernel("6.12"), "--rootfs", image, "--overlay", "--name", "boots", "--mem-mb", "128")
	if err := boot.Start(); err != nil {
		t.Fatal(err)
	}
	h.awaitVM(t, "boots")
	h.fails(t, "has not answered yet", "snapshot", "--vm-id", "boots", "--name", "early")
	h.ok(t, "destroy", "--force", "boots")
	_ = boot.Wait()

	h.onlyTemplates(t, "base")
	if got := h.exec(t, vm, "echo", "unharmed"); got != "unharmed" {
		t.Errorf("the VM says %q", got)
	}
}

// awaitVM waits until a VM's process has made its machine: it answers on its control socket.
func (h *host) awaitVM(t *testing.T, vm string) {
	t.Helper()
	for range 300 {
		if r := h.run(time.Minute, nil, "status", vm, "--json"); r.status == 0 && strings.Contains(r.out, `"answers": true`) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("VM %s does not come up", vm)
}

// onlyTemplates checks that the store has these and nothing half done. (Hidden beside them are notes on what forks touch.)
func (h *host) onlyTemplates(t *testing.T, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.dir, "home", "templates"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Name() != ".notes" {
			got = append(got, e.Name())
		}
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the store holds %q, want %q", got, names)
	}
}

// TestFullDiskDuringSnapshot snapshots into a file system that is too small.
func TestFullDiskDuringSnapshot(t *testing.T) {
	h := forkHost(t)
	vm := h.fork(t, "base")
	h.startCounter(t, vm)
	small := filepath.Join(h.dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=8m,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })

	cmd := h.command(t.Context(), "snapshot", "--vm-id", vm, "--name", "big")
	cmd.Env = append(cmd.Env, "CLONE_HOME="+small)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no space left on device") {
		t.Errorf("a snapshot into a full file system: %v: %s", err, out)
	}
	count := h.awaitCount(t, vm, 1)
	h.awaitCount(t, vm, count+2)
	if left, err := os.ReadDir(filepath.Join(small, "templates")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// With room it works, and what comes out is whole.
	h.snapshot(t, vm, "fits")
	h.ok(t, "template", "verify", "fits")
	h.awaitCount(t, h.fork(t, "fits"), count+2)
}

// damaged is the template "base" with something wrong.
type damaged struct {
	name   string
	damage func(dir string) error
	want   string
}

var damages = []damaged{
	{"another-version", func(dir string) error {
		return editManifest(dir, func(m map[string]any) { m["format_version"] = 99 })
	}, "format version 99; this clone reads version 2"},
	{"manifest-edited", func(dir string) error { return replaceIn(dir, "manifest.json", `"vcpus": 2`, `"vcpus": 3`) }, "manifest is damaged"},
	{"manifest-cut", func(dir string) error { return os.Truncate(filepath.Join(dir, "manifest.json"), 100) }, "manifest is damaged"},
	{"manifest-empty", func(dir string) error { return os.Truncate(filepath.Join(dir, "manifest.json"), 0) }, "manifest is damaged"},
	{"manifest-gone", func(dir string) error { return os.Remove(filepath.Join(dir, "manifest.json")) }, "no such file"},
	{"manifest-nonsense", func(dir string) error {
		return editManifest(dir, func(m map[string]any) { m["config"].(map[string]any)["vcpus"] = 0 })
	}, "--vcpus 0 is out of range"},
	{"memory-cut", func(dir string) error { return os.Truncate(filepath.Join(dir, "memory"), 255<<20) }, "memory is truncated"},
	{"memory-gone", func(dir string) error { return os.Remove(filepath.Join(dir, "memory")) }, "no such file"},
	{"state-cut", func(dir string) error { return os.Truncate(filepath.Join(dir, "state"), 1000) }, "state is truncated"},
	{"state-edited", func(dir string) error { return flip(filepath.Join(dir, "state"), 3000) }, "damaged"},
	{"open-to-others", func(dir string) error { return os.Chmod(dir, 0o777) }, "can be written by others"},
}

// TestDamagedTemplatesAreRefused forks templates that are not what they were when they were sealed.
func TestDamagedTemplatesAreRefused(t *testing.T) {
	whole := filepath.Join(forkHost(t).dir, "home", "templates", "base")
	h := newHost(t)
	store := filepath.Join(h.dir, "home", "templates")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	h.fails(t, "no such template: base", "fork", "--template", "base", "--detach")
	for _, d := range damages {
		dir := filepath.Join(store, d.name)
		if out, err := exec.Command("cp", "-r", "--sparse=always", "--preserve=mode,timestamps", whole, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := d.damage(dir); err != nil {
			t.Fatal(err)
		}
		h.fails(t, d.want, "fork", "--template", d.name, "--detach")
		h.ok(t, "template", "list") // shows what is wrong and goes on
		h.ok(t, "template", "rm", d.name)
	}
	if got := h.ok(t, "list", "--json"); got != "[]" {
		t.Errorf("VMs are left: %s", got)
	}

	// Memory that was changed is no business of a fork, which never reads it all, unless it is asked to look.
	dir := filepath.Join(store, "memory-edited")
	if out, err := exec.Command("cp", "-r", "--sparse=always", whole, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := flip(filepath.Join(dir, "memory"), 17<<20); err != nil {
		t.Fatal(err)
	}
	const where = "memory is damaged between offsets 0x1000000 and 0x1200000"
	h.fails(t, where, "template", "verify", "memory-edited")
	h.fails(t, where, "fork", "--template", "memory-edited", "--verify", "--detach")
	if err := flip(filepath.Join(dir, "memory"), 17<<20); err != nil {
		t.Fatal(err)
	}
	h.ok(t, "template", "verify", "memory-edited")
	if got := h.exec(t, h.fork(t, "memory-edited", "--verify"), "nproc"); got != "2" {
		t.Errorf("the copy of the template has %s processors", got)
	}
}

// editManifest changes a manifest as a clone would have written it, with the right checksum.
func editManifest(dir string, edit func(map[string]any)) error {
	path := filepath.Join(dir, "manifest.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	edit(m)
	if b, err = json.Marshal(m); err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.sha256"), fmt.Appendf(nil, "%x\n", sha256.Sum256(b)), 0o600)
}

func replaceIn(dir, file, old, new string) error {
	path := filepath.Join(dir, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte(old)) {
		return fmt.Errorf("%s has no %s", path, old)
	}
	return os.WriteFile(path, bytes.Replace(b, []byte(old), []byte(new), 1), 0o600)
}

// flip inverts a byte.
func flip(path string, offset int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		return err
	}
	b[0] ^= 0xff
	_, err = f.WriteAt(b[:], offset)
	return err
}

// TestChangedDiskIsRefused changes the root image that a template's memory knows.
func TestChangedDiskIsRefused(t *testing.T) {
	h := newHost(t)
	own := filepath.Join(h.dir, "own.ext4")
	fresh := func() {
		t.Helper()
		if out, err := exec.Command("cp", "--sparse=always", image, own).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	fresh()
	// A root file system that the guest writes has no place in a template.
	run := []string{"run", "--kernel", kernel("6.12"), "--rootfs", own, "--detach", "--mem-mb", "128"}
	vm := h.ok(t, run...)
	h.fails(t, "the guest can write disk "+own, "snapshot", "--vm-id", vm, "--name", "own")
	h.ok(t, "destroy", "--force", vm)

	fresh() // that guest was not asked, and left the file system as it was
	vm = h.ok(t, append(run, "--overlay")...)
	h.snapshot(t, vm, "own")
	f := h.fork(t, "own")
	// Another file in its place is another disk, of which a template's forks would read what its memory does not know.
	if err := os.Rename(own, own+".old"); err != nil {
		t.Fatal(err)
	}
	fresh()
	for _, vm := range []string{vm, f} {
		h.fails(t, "was changed or replaced after the VM was started", "snapshot", "--vm-id", vm, "--name", "other")
	}
	if err := os.Rename(own+".old", own); err != nil {
		t.Fatal(err)
	}
	h.snapshot(t, f, "other")
	h.ok(t, "destroy", "--all", "--force")

	before, err := os.Stat(own)
	if err != nil {
		t.Fatal(err)
	}
	if err := flip(own, 5<<20); err != nil {
		t.Fatal(err)
	}
	const want = "was changed after template own was taken"
	h.fails(t, want, "fork", "--template", "own", "--detach")
	if err := flip(own, 5<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(own, before.Size()+4096); err == nil {
		err = os.Chtimes(own, before.ModTime(), before.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
	h.fails(t, want, "fork", "--template", "own", "--detach")
	// Put back as it was, it serves again.
	if err := os.Truncate(own, before.Size()); err == nil {
		err = os.Chtimes(own, before.ModTime(), before.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := h.exec(t, h.fork(t, "own"), "echo", "again"); got != "again" {
		t.Errorf("the fork says %q", got)
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	h.fails(t, "no such file", "fork", "--template", "own", "--detach")
}
