package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestPrune(t *testing.T) {
	s := newStore(t)
	if p, err := s.Prune(); err != nil || len(p.Aside)+len(p.Notes) != 0 {
		t.Fatalf("of nothing: %+v, %v", p, err)
	}
	for _, name := range []string{"kept", "gone"} {
		write(t, s, name)
		tpl, err := s.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := tpl.SetNote("hot", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	live, err := s.Create("live", manifest())
	if err != nil {
		t.Fatal(err)
	}
	defer live.Abort()
	notes := filepath.Join(s.root, notesDir, "kept")
	young, old := filepath.Join(notes, ".new-young"), filepath.Join(notes, ".new-old")
	dead := filepath.Join(s.root, asidePrefix+"dead")
	if err := errors.Join(os.RemoveAll(filepath.Join(s.root, "gone")), os.Mkdir(dead, 0o700),
		os.WriteFile(filepath.Join(notes, "hot-0000000000000000"), nil, 0o600), os.WriteFile(young, nil, 0o600),
		os.WriteFile(old, nil, 0o600), os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour))); err != nil {
		t.Fatal(err)
	}
	p, err := s.Prune()
	slices.Sort(p.Notes)
	if err != nil || !slices.Equal(p.Aside, []string{filepath.Base(dead)}) ||
		!slices.Equal(p.Notes, []string{"gone", "kept/.new-old", "kept/hot-0000000000000000"}) {
		t.Errorf("pruned %+v, %v", p, err)
	}
	tpl, err := s.Open("kept")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := tpl.Note("hot"); err != nil || string(b) != "x" {
		t.Errorf("the note of a live template: %q, %v", b, err)
	}
	if _, err := os.Stat(live.dir); err != nil {
		t.Errorf("the live writer: %v", err)
	}
}

// The store's path is a path, and no pattern.
func TestPruneInAnOddDirectory(t *testing.T) {
	s, err := OpenStore(filepath.Join(t.TempDir(), `[a-b]*?\`))
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(s.root, asidePrefix+"dead")
	if err := os.MkdirAll(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Prune(); err != nil || len(p.Aside) != 1 {
		t.Errorf("pruned %+v, %v", p, err)
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("what a dead writer left is still there")
	}
}

// A writer that begins while others look for the directories of dead ones must not lose its own: without a second try it soon
// does.
func TestReapDisturbsNobody(t *testing.T) {
	s := newStore(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.reap()
				}
			}
		})
	}
	for range 500 {
		dir, lock, err := s.aside()
		if err != nil {
			t.Error(err)
			break
		}
		if err := errors.Join(os.Remove(dir), lock.Close()); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	wg.Wait()
}
