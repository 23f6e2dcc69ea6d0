package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clone/internal/config"

	"golang.org/x/sys/unix"
)

const memMiB = 64

// ram is a machine's memory.
type ram struct {
	b   []byte
	own map[uint64]bool // the pages that are its own; nil: all
}

// newRAM is the memory of a machine that was booted, with some pages set.
func newRAM() *ram {
	r := &ram{b: make([]byte, memMiB<<20)}
	for _, at := range []int{0, 4096, 3 << 20, memMiB<<20 - 1} {
		r.b[at] = 0xa5
	}
	return r
}

func (r *ram) Size() uint64 { return uint64(len(r.b)) }
func (r *ram) Own(own []bool, first uint64) error {
	for i := range own {
		own[i] = r.own == nil || r.own[first+uint64(i)]
	}
	return nil
}
func (r *ram) ReadOwn(p []byte, own []bool, first uint64) error {
	for i := range own {
		if own[i] {
			copy(p[i*pageSize:(i+1)*pageSize], r.b[(first+uint64(i))*pageSize:])
		}
	}
	return nil
}

func manifest() Manifest {
	return Manifest{Config: config.VM{
		Version: config.Version, MemoryMiB: memMiB, VCPUs: 1, Agent: true, Slots: config.DefaultSlots(),
	}}
}

func newStore(t *testing.T) *Store {
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, s *Store, name string) *ram {
	t.Helper()
	w, err := s.Create(name, manifest())
	if err != nil {
		t.Fatal(err)
	}
	r := newRAM()
	if err := errors.Join(w.State([]byte("state")), w.Memory(context.Background(), Contents{Own: r})); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return r
}

func verify(s *Store, name string) error {
	t, err := s.Open(name)
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Verify(func(done, total uint64) {})
}

func TestRoundTrip(t *testing.T) {
	s := newStore(t)
	r := write(t, s, "one")
	if err := verify(s, "one"); err != nil {
		t.Fatal(err)
	}
	tpl, err := s.Open("one")
	if err != nil {
		t.Fatal(err)
	}
	defer tpl.Close()
	got, err := os.ReadFile(filepath.Join(s.root, "one", "memory"))
	if err != nil || !bytes.Equal(got, r.b) {
		t.Fatalf("memory differs: %v", err)
	}
	if want := uint64(4 * pageSize); tpl.Manifest.Memory.StoredBytes != want {
		t.Errorf("stored %d bytes, want %d: zero pages are holes", tpl.Manifest.Memory.StoredBytes, want)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(s.root, "one", "memory"), &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("memory takes %d bytes on disk: %v", st.Blocks*512, err)
	}
	if b, err := tpl.State(); err != nil || string(b) != "state" {
		t.Errorf("state %q, %v", b, err)
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Name != "one" || list[0].Err != nil {
		t.Errorf("list %+v, %v", list, err)
	}
}

// flip changes one bit of a sealed file.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsFound(t *testing.T) {
	for _, c := range []struct {
		name, want string
		damage     func(t *testing.T, dir string)
	}{
		{"bit in data", "memory is damaged between offsets 0x0", func(t *testing.T, d string) { flip(t, d+"/memory", 4097) }},
		{"bit in a hole", "memory is damaged between offsets 0x1000000", func(t *testing.T, d string) { flip(t, d+"/memory", 16<<20) }},
		{"bit in the state", "state is damaged", func(t *testing.T, d string) { flip(t, d+"/state", 2) }},
		{"bit in the manifest", "manifest is damaged", func(t *testing.T, d string) { flip(t, d+"/manifest.json", 60) }},
		{"truncated memory", "memory is truncated", func(t *testing.T, d string) { os.Truncate(d+"/memory", 1<<20) }},
		{"truncated state", "state is truncated", func(t *testing.T, d string) { os.Truncate(d+"/state", 1) }},
		{"empty manifest", "manifest is damaged", func(t *testing.T, d string) { os.Truncate(d+"/manifest.json", 0) }},
		{"no memory", "no such file", func(t *testing.T, d string) { os.Remove(d + "/memory") }},
		{"written by others", "can be written by others", func(t *testing.T, d string) { os.Chmod(d, 0o777) }},
		{"someone else's", "belongs to user 4242", func(t *testing.T, d string) { os.Chown(d, 4242, 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			write(t, s, "x")
			c.damage(t, filepath.Join(s.root, "x"))
			if err := verify(s, "x"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestFilledHolesAreNoDamage: a template that was copied without care for holes is still whole.
func TestFilledHolesAreNoDamage(t *testing.T) {
	s := newStore(t)
	r := write(t, s, "x")
	if err := os.WriteFile(filepath.Join(s.root, "x", "memory"), r.b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify(s, "x"); err != nil {
		t.Error(err)
	}
}

func TestOtherFormatVersionIsRefused(t *testing.T) {
	s := newStore(t)
	write(t, s, "x")
	path := filepath.Join(s.root, "x", "manifest.json")
	b, _ := os.ReadFile(path)
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	m["format_version"] = FormatVersion + 1
	b, _ = json.Marshal(m)
	os.Remove(path)
	os.WriteFile(path, b, 0o400)
	if _, err := s.Open("x"); err == nil || !strings.Contains(err.Error(), "format version 3; this clone reads version 2") {
		t.Errorf("got %v", err)
	}
}

func TestTakenName(t *testing.T) {
	s := newStore(t)
	// Both begin while the name is free; the second to commit loses, and harms nothing.
	first, err := s.Create("x", manifest())
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, "x")
	if err := errors.Join(first.State([]byte("other")), first.Memory(context.Background(), Contents{Own: newRAM()})); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Commit(); !errors.Is(err, ErrExists) {
		t.Errorf("second commit: %v", err)
	}
	if _, err := s.Create("x", manifest()); !errors.Is(err, ErrExists) {
		t.Errorf("create of a taken name: %v", err)
	}
	if err := verify(s, "x"); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(s.root); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestNames(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"", ".", "..", ".x", "a/b", "../x", "-x", strings.Repeat("a", 64), "a b", "a\n"} {
		if _, err := s.Create(name, manifest()); err == nil {
			t.Errorf("%q was taken as a name", name)
		}
		if err := s.Remove([]string{name}, false); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("remove %q: %v", name, err)
		}
		if _, err := s.Open(name); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("open %q: %v", name, err)
		}
	}
}

func TestRemove(t *testing.T) {
	s := newStore(t)
	if err := s.Remove([]string{"x"}, false); !errors.Is(err, ErrNotFound) {
		t.Errorf("remove of nothing: %v", err)
	}
	write(t, s, "x")
	if err := s.Remove([]string{"x"}, false); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(s.root); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestKilledWriterIsReaped: what a writer that was killed left is removed by the next command, a live one's is not.
func TestKilledWriterIsReaped(t *testing.T) {
	s := newStore(t)
	live, err := s.Create("live", manifest())
	if err != nil {
		t.Fatal(err)
	}
	defer live.Abort()
	dead := filepath.Join(s.root, asidePrefix+"dead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(dead+"/memory", []byte("half"), 0o400)
	write(t, s, "x")
	if _, err := os.Stat(dead); err == nil {
		t.Error("the dead writer's directory is still there")
	}
	if _, err := os.Stat(live.dir); err != nil {
		t.Errorf("the live writer's directory is gone: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	home := t.TempDir()
	if err := unix.Mount("tmpfs", home, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	defer unix.Unmount(home, unix.MNT_DETACH)
	s, _ := OpenStore(home)
	w, err := s.Create("x", manifest())
	if err != nil {
		t.Fatal(err)
	}
	r := newRAM()
	for i := range r.b {
		r.b[i] = 1
	}
	if err := w.Memory(context.Background(), Contents{Own: r}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	w.Abort()
	if left, _ := os.ReadDir(s.root); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzManifest(f *testing.F) {
	m := manifest()
	b, _ := json.Marshal(&m)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		os.WriteFile(dir+"/manifest.json", b, 0o600)
		os.WriteFile(dir+"/manifest.sha256", []byte(describe(b).SHA256), 0o600)
		if m, err := readManifest(os.DirFS(dir)); err == nil && m.Memory.SizeBytes == 0 {
			t.Error("a guest without memory was accepted")
		}
	})
}
