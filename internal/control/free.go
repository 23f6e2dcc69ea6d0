package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckFree returns nil where a new VM could have the name now: its form is right, and nobody alive has it. It takes no
// lock and reaps nothing; Create decides.
func (r *Registry) CheckFree(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	_, err := r.holder(name)
	return err
}

// holder returns the id of the VM that a name's link names, which is dead; "" where there is no link. That a live VM has the
// name is an error.
func (r *Registry) holder(name string) (id string, err error) {
	target, err := os.Readlink(r.nameLink(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var alive bool
	if err == nil {
		id = filepath.Base(target)
		alive, err = r.Alive(id)
	}
	if err != nil {
		return "", fmt.Errorf("looking up the name %q: %w", name, err)
	}
	if alive {
		return "", r.takenBy(name, id)
	}
	return id, nil
}

// takenBy is the refusal of a name that a live VM has.
func (r *Registry) takenBy(name, id string) error {
	holder := "VM " + id
	if info, err := r.read(id); err == nil {
		holder += fmt.Sprintf(" (process %d)", info.PID)
	}
	return fmt.Errorf("%w: %q is the name of %s", ErrNameTaken, name, holder)
}
