package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Pruned is what Prune has removed.
type Pruned struct {
	VMs   []Ended  // dead VMs' directories, with their names and sockets
	Names []string // names that led to no VM
}

// Prune removes everything that belongs to no live VM. Commands remove by themselves what is in their way; this is for the
// rest, and to be told of it.
func (r *Registry) Prune() (p Pruned, err error) {
	lock, err := openLocked(r.registryLock()) // nothing is half made now
	if err != nil {
		return p, fmt.Errorf("pruning VMs: %w", err)
	}
	defer lock.Close()
	entries, err := os.ReadDir(r.base)
	if err != nil {
		return p, fmt.Errorf("pruning VMs: %w", err)
	}
	var errs []error
	for _, e := range entries {
		id := e.Name()
		if !isID(id) {
			continue
		}
		if alive, err := r.Alive(id); err != nil || alive {
			errs = append(errs, err)
			continue
		}
		if err := r.reapLocked(id, ""); err != nil {
			errs = append(errs, err)
			continue
		}
		end, err := r.readEnded(id)
		if err != nil { // it was only half made
			end = Ended{Info: Info{ID: id}, Reason: "it was only half made"}
		}
		p.VMs = append(p.VMs, end)
	}
	p.Names, err = r.pruneNames()
	return p, errors.Join(append(errs, err)...)
}

func (r *Registry) pruneNames() (gone []string, err error) {
	links, err := os.ReadDir(filepath.Join(r.base, "names"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, l := range links {
		path := r.nameLink(l.Name())
		target, err := os.Readlink(path)
		if err != nil {
			continue // not ours
		}
		if alive, err := r.Alive(filepath.Base(target)); err != nil || alive {
			continue
		}
		if err := os.Remove(path); err != nil {
			return gone, err
		}
		gone = append(gone, l.Name())
	}
	return gone, nil
}

// Forget removes the records of VMs that have ended, and tells how many there were.
func (r *Registry) Forget() (n int, err error) {
	all, err := r.Ended()
	for _, e := range all {
		if err := os.Remove(r.endedPath(e.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
		n++
	}
	return n, err
}
