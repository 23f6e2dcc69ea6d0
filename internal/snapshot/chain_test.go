package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestListShowsBrokenChains(t *testing.T) {
	s := newStore(t)
	family(t, s)
	if err := s.Remove([]string{"base"}, true); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	for _, e := range list {
		if e.Manifest == nil || e.Err == nil || !strings.Contains(e.Err.Error(), "template base, which it builds on, is gone") {
			t.Errorf("%s: %v", e.Name, e.Err)
		}
	}
}

// A parent that is there and cannot be read is not gone.
func TestListTellsADamagedParent(t *testing.T) {
	s := newStore(t)
	family(t, s)
	if err := os.WriteFile(filepath.Join(s.root, "base", "manifest.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 3 {
		t.Fatalf("%v %v", list, err)
	}
	for _, e := range list {
		if e.Err == nil || strings.Contains(e.Err.Error(), "is gone") || e.Name != "base" && !strings.HasPrefix(e.Err.Error(), "template base, which it builds on: ") {
			t.Errorf("%s: %v", e.Name, e.Err)
		}
	}
}

// Templates are removed together or not at all: a name that is none must not leave others without what they build on.
func TestRemoveAllOrNone(t *testing.T) {
	s := newStore(t)
	family(t, s)
	err := s.Remove([]string{"base", "nosuch", "middle", "neither", "top"}, false)
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "nosuch, neither") {
		t.Errorf("got %v", err)
	}
	if err := verify(s, "top"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	list, err := s.entries()
	if err != nil {
		t.Fatal(err)
	}
	if got := childrenFirst(list, []string{"base", "top", "middle", "top"}); !slices.Equal(got, []string{"top", "middle", "base"}) {
		t.Errorf("removed in the order %v", got)
	}
	if err := s.Remove([]string{"base", "top", "middle", "top"}, false); err != nil {
		t.Error(err)
	}
}

func TestRemoveProtectsParents(t *testing.T) {
	s := newStore(t)
	family(t, s)
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"base"}, "template base: other templates build on it: middle;"},
		{[]string{"middle"}, "template middle: other templates build on it: top;"},
		{[]string{"base", "middle"}, "template middle: other templates build on it: top;"},
		{[]string{"top", "base"}, "template base: other templates build on it: middle;"},
	} {
		if err := s.Remove(c.names, false); !errors.Is(err, ErrHasChildren) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("rm %v: %v", c.names, err)
		}
	}
	if err := verify(s, "top"); err != nil {
		t.Fatalf("after refusals: %v", err)
	}
	// Flattened, top needs neither.
	if err := s.Flatten(t.Context(), "top", func(done, total uint64) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove([]string{"base", "middle"}, false); err != nil {
		t.Error(err)
	}
	if err := verify(s, "top"); err != nil {
		t.Error(err)
	}
}
