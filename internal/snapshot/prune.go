package snapshot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Pruned is what Prune has removed, as names in the store.
type Pruned struct {
	Aside []string // templates that were being written or removed by a process that was killed
	Notes []string // notes of templates that are gone, or that were other templates of the same name
}

// halfNote is how old a note that has no name yet must be for its writer to be dead.
const halfNote = time.Minute

// Prune removes everything in the store that belongs to no template and to nobody who is at work.
func (s *Store) Prune() (p Pruned, err error) {
	before := s.asides()
	s.reap()
	for _, dir := range before {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			p.Aside = append(p.Aside, filepath.Base(dir))
		}
	}
	p.Notes, err = s.pruneNotes()
	return p, err
}

// asides are the directories of work in progress that nobody holds locked.
func (s *Store) asides() (dead []string) {
	for _, dir := range s.allAside() {
		if f, err := lockAside(dir); err == nil {
			f.Close()
			dead = append(dead, dir)
		}
	}
	return dead
}

func (s *Store) pruneNotes() (gone []string, err error) {
	root := filepath.Join(s.root, notesDir)
	templates, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	remove := func(path string) error {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		gone = append(gone, name)
		return nil
	}
	for _, d := range templates {
		dir := filepath.Join(root, d.Name())
		m, err := readManifest(os.DirFS(filepath.Join(s.root, d.Name())))
		if errors.Is(err, fs.ErrNotExist) {
			if err := remove(dir); err != nil {
				return gone, err
			}
			continue
		}
		if err != nil {
			continue // damaged: what its notes are worth is unknown
		}
		t := &Template{Manifest: m, store: s.root}
		notes, err := os.ReadDir(dir)
		if err != nil {
			return gone, err
		}
		for _, n := range notes {
			kind, _, _ := strings.Cut(n.Name(), "-")
			path := filepath.Join(dir, n.Name())
			info, err := n.Info()
			if err != nil || path == t.notePath(kind) || strings.HasPrefix(n.Name(), ".new-") && time.Since(info.ModTime()) < halfNote {
				continue
			}
			if err := remove(path); err != nil {
				return gone, err
			}
		}
	}
	return gone, nil
}
