package session

import (
	"errors"
	"strings"
	"testing"

	"clone/internal/config"
	"clone/internal/control"
	"clone/internal/snapshot"
)

// source is a machine of which only the origin matters.
type source struct {
	Boot
	base *snapshot.Template
}

func (s *source) Base() *snapshot.Template { return s.base }

// untouched is the memory of a machine that changed nothing.
type untouched struct{}

func (untouched) Size() uint64                         { return config.MinMemoryMiB << 20 }
func (untouched) Own(own []bool, _ uint64) error       { clear(own); return nil }
func (untouched) ReadOwn([]byte, []bool, uint64) error { return nil }

func template(t *testing.T, store *snapshot.Store, name string) *snapshot.Template {
	t.Helper()
	w, err := store.Create(name, snapshot.Manifest{Config: config.VM{
		Version: config.Version, MemoryMiB: config.MinMemoryMiB, VCPUs: 1, Slots: config.DefaultSlots(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.State(nil), w.Memory(t.Context(), snapshot.Contents{Own: untouched{}})); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	tpl, err := store.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tpl.Close)
	return tpl
}

// TestWhatASnapshotBuildsOn asks for each kind of snapshot, of each kind of VM.
func TestWhatASnapshotBuildsOn(t *testing.T) {
	store, err := snapshot.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := snapshot.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	base, later, gone := template(t, store, "base"), template(t, store, "later"), template(t, store, "gone")
	replaced := template(t, store, "replaced")
	if err := store.Remove([]string{"gone", "replaced"}, false); err != nil {
		t.Fatal(err)
	}
	template(t, store, "replaced")
	wasStored := &stored{root: store.Root(), ref: later.Ref()}
	for _, c := range []struct {
		what   string
		base   *snapshot.Template
		stored *stored
		how    string
		store  *snapshot.Store
		parent string
		says   string // in the note, or in the error
	}{
		{"booted", nil, nil, control.StoreAuto, store, "", ""},
		{"booted and stored", nil, wasStored, control.StoreAuto, store, "", ""},
		{"booted, incremental", nil, nil, control.StoreIncremental, store, "", "nothing to build on"},
		{"booted and stored, incremental", nil, wasStored, control.StoreIncremental, store, "later", ""},
		{"fork", base, nil, control.StoreAuto, store, "base", ""},
		{"fork, stored", base, wasStored, control.StoreAuto, store, "base", ""},
		{"fork, stored, incremental", base, wasStored, control.StoreIncremental, store, "later", ""},
		{"fork, incremental", base, nil, control.StoreIncremental, store, "base", ""},
		{"fork, full", base, wasStored, control.StoreFull, store, "", ""},
		{"fork of what is gone", gone, nil, control.StoreAuto, store, "", "no such template: gone"},
		{"fork of what is gone, incremental", gone, nil, control.StoreIncremental, store, "", "no such template: gone"},
		{"fork of what was replaced", replaced, nil, control.StoreAuto, store, "", "another one than it was"},
		{"fork, into another store", base, nil, control.StoreAuto, elsewhere, "", "in another store"},
		{"nonsense", base, nil, "half", store, "", "no way to store memory"},
	} {
		s := &Session{source: &source{base: c.base}, stored: c.stored}
		parent, note, err := s.parent(c.store, c.how)
		got := ""
		if parent != nil {
			got = parent.Name()
			parent.Close()
		}
		said := note
		if err != nil {
			said = err.Error()
		}
		fails := c.says != "" && c.how != control.StoreAuto
		if got != c.parent || (err != nil) != fails || !strings.Contains(said, c.says) || c.says == "" && said != "" {
			t.Errorf("%s: builds on %q, says %q, %v; want %q, %q", c.what, got, note, err, c.parent, c.says)
		}
	}
}
