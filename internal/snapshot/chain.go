package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxDepth bounds the templates of a chain, the one at the top and the standalone one at the bottom included.
const maxDepth = 64

// errTooDeep is made when it is needed: package initialisation is part of each fork's time.
func errTooDeep() error {
	return fmt.Errorf("it has more than %d templates below it: `clone template flatten` makes one of them", maxDepth-1)
}

// gone says that a parent is no more, which is not that the template is no more.
func gone(p Parent) error {
	return fmt.Errorf("template %s, which it builds on, is gone (id %s): put it back, there is nothing to fork without it", p.Name, p.ID)
}

func replaced(p Parent, id string) error {
	return fmt.Errorf("template %s, which it builds on, was replaced by another of that name (id %s, and not %s)", p.Name, id, p.ID)
}

// checkParent tells whether a parent is there, and the one it was.
func (s *Store) checkParent(p Parent) error {
	m, err := readManifest(os.DirFS(filepath.Join(s.root, p.Name)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gone(p)
	case err != nil:
		return fmt.Errorf("template %s: %w", p.Name, err)
	case m.ID != p.ID:
		return replaced(p, m.ID)
	}
	return nil
}

func byName(list []Entry) map[string]Entry {
	known := map[string]Entry{}
	for _, e := range list {
		known[e.Name] = e
	}
	return known
}

// checkChain follows a template's parents through the entries of a store.
func checkChain(m *Manifest, known map[string]Entry) error {
	for depth := 1; m.Parent != nil; depth++ {
		next, p := known[m.Parent.Name], *m.Parent
		switch {
		case depth >= maxDepth:
			return errTooDeep() // a circle too
		case next.Name == "":
			return gone(p)
		case next.Manifest == nil:
			return fmt.Errorf("template %s, which it builds on: %w", p.Name, next.Err)
		case next.Manifest.ID != p.ID:
			return replaced(p, next.Manifest.ID)
		}
		m = next.Manifest
	}
	return nil
}

// childrenFirst sorts names so that none comes before what builds on it, and each comes once.
func childrenFirst(list []Entry, names []string) []string {
	known := byName(list)
	depth := func(name string) (n int) {
		for m := known[name].Manifest; m != nil && m.Parent != nil && n <= len(list); n++ { // a circle ends too
			m = known[m.Parent.Name].Manifest
		}
		return n
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	slices.SortStableFunc(sorted, func(a, b string) int { return depth(b) - depth(a) })
	return sorted
}

// checkChildren refuses to remove a template that another, which stays, builds on. All names are in the list.
func checkChildren(list []Entry, names []string) error {
	known := byName(list)
	for _, name := range names {
		var children []string
		for _, e := range list {
			if e.Manifest == nil || e.Manifest.Parent == nil || e.Manifest.Parent.Name != name || slices.Contains(names, e.Name) {
				continue
			}
			// One that cannot be read is taken for whatever its children say it is.
			if m := known[name].Manifest; m == nil || m.ID == e.Manifest.Parent.ID {
				children = append(children, e.Name)
			}
		}
		if children != nil {
			return fmt.Errorf("template %s: %w: %s; remove these first or make each of them whole with `clone template flatten`, or use --force",
				name, ErrHasChildren, strings.Join(children, ", "))
		}
	}
	return nil
}
