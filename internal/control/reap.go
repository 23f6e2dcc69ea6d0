package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

func (r *Registry) registryLock() string { return filepath.Join(r.base, "lock") }

// load reads the Info of a live VM. Its error wraps ErrNoVM where the directory is not one of a live VM: it is dead, gone,
// or being made.
func (r *Registry) load(id string) (Info, error) {
	if !isID(id) {
		return Info{}, ErrNoVM
	}
	alive, err := isLocked(filepath.Join(r.base, id, "lock"))
	if err != nil {
		return Info{}, err
	}
	if !alive {
		return Info{}, ErrNoVM
	}
	return r.read(id)
}

func (r *Registry) read(id string) (Info, error) {
	path := filepath.Join(r.base, id, "vm.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, ErrNoVM
	}
	if err != nil {
		return Info{}, err
	}
	var info Info
	if err := json.Unmarshal(b, &info); err != nil {
		return Info{}, fmt.Errorf("%s: %w", path, err)
	}
	info.ID = id // the directory's name is what it is found by
	return info, nil
}

// Alive tells whether the VM with this id is still there.
func (r *Registry) Alive(id string) (bool, error) {
	if !isID(id) {
		return false, nil
	}
	return isLocked(filepath.Join(r.base, id, "lock"))
}

// Reap removes the directory and the name of a VM that is dead, and records its end where its process did not. A live one,
// and one that is being created, is left alone.
func (r *Registry) Reap(id string) error { return r.ReapAs(id, "") }

// ReapAs is Reap for whoever knows how the VM's process ended; "" for nobody.
func (r *Registry) ReapAs(id, how string) error {
	registry, err := openLocked(r.registryLock())
	if err != nil {
		return fmt.Errorf("reaping VM %s: %w", id, err)
	}
	defer registry.Close()
	if err := r.reapLocked(id, how); err != nil {
		return fmt.Errorf("reaping VM %s: %w", id, err)
	}
	return nil
}

// reapLocked is Reap for a caller that holds the registry's lock: no directory is half made now, so one that is not
// locked is dead.
func (r *Registry) reapLocked(id, how string) error {
	if !isID(id) {
		return nil
	}
	alive, err := r.Alive(id)
	if err != nil || alive {
		return err
	}
	info, _ := r.read(id) // without a readable Info it has no link: makeDir makes the link last
	r.bury(info, how)
	return r.remove(id, info.Name)
}

// remove deletes a VM's link and then its directory, in this order: a directory that is still there leads the next
// reaper to the link.
func (r *Registry) remove(id, name string) error {
	var errs []error
	if CheckName(name) == nil && name != "" {
		link := r.nameLink(name)
		if target, err := os.Readlink(link); err == nil && filepath.Base(target) == id {
			if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(append(errs, os.RemoveAll(r.Dir(id)))...)
}

// freeName returns nil where nobody alive has the name, and reaps a dead holder. The caller holds the registry's lock.
func (r *Registry) freeName(name string) error {
	id, err := r.holder(name)
	if id == "" {
		return err
	}
	if err := r.reapLocked(id, ""); err != nil {
		return fmt.Errorf("reaping the dead VM %q: %w", name, err)
	}
	// The dead one's directory may have lost its Info, and with it the way to the link.
	if err := os.Remove(r.nameLink(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
