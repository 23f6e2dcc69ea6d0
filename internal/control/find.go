package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrNoVM is wrapped by errors that mean: there is no such live VM.
	ErrNoVM = errors.New("no such VM")
	// ErrAmbiguous is wrapped by errors that mean: several VMs could be meant.
	ErrAmbiguous = errors.New("several VMs match")
)

// minBeginning is how many digits of an id name a VM: names like "db" are more often those of VMs that have just ended.
const minBeginning = 4

// Find returns the live VM that ref names: its name, its id or a beginning of it that no other has (at least minBeginning
// digits), or its PID. The empty ref means the only VM there is.
func (r *Registry) Find(ref string) (Info, error) {
	// The common forms cost a few system calls, however many VMs there are.
	if ref != "" && CheckName(ref) == nil {
		if target, err := os.Readlink(r.nameLink(ref)); err == nil {
			if info, err := r.load(filepath.Base(target)); err == nil && info.Name == ref {
				return info, nil
			}
		}
	}
	if isID(ref) {
		if info, err := r.load(ref); err == nil {
			return info, nil
		}
	}
	infos, err := r.List()
	if err != nil && (ref == "" || len(infos) == 0) {
		return Info{}, err
	}
	if ref == "" {
		info, err := only(infos)
		if last, ok := r.lastEnd(""); ok && errors.Is(err, ErrNoVM) && last.Status != 0 {
			err = fmt.Errorf("%w; the last was %s: %s", err, last.Info, last.Said(time.Now()))
		}
		return info, err
	}
	info, err := match(infos, ref)
	// What named a VM that has ended does not come to mean another one by chance.
	if end, ok := r.lastEnd(ref); ok && (errors.Is(err, ErrNoVM) || end.Name == ref && info.Name != ref) {
		info = Info{}
		err = fmt.Errorf("%w: %s; %s", ErrNoVM, ref, end.Said(time.Now()))
	}
	return info, err
}

func only(infos []Info) (Info, error) {
	switch len(infos) {
	case 0:
		return Info{}, fmt.Errorf("%w: none is running; start one with clone run or clone fork", ErrNoVM)
	case 1:
		return infos[0], nil
	}
	return Info{}, fmt.Errorf("%w: say which with --vm-id: %s", ErrAmbiguous, join(infos))
}

func match(infos []Info, ref string) (Info, error) {
	if pid, err := strconv.Atoi(ref); err == nil {
		for _, i := range infos {
			if i.PID == pid {
				return i, nil
			}
		}
		return Info{}, fmt.Errorf("%w: no VM has process id %s; see clone list", ErrNoVM, ref)
	}
	var found []Info
	for _, i := range infos {
		switch {
		case i.Name == ref || i.ID == ref:
			return i, nil
		case beginsID(ref, i.ID):
			found = append(found, i)
		}
	}
	switch len(found) {
	case 0:
		return Info{}, fmt.Errorf("%w: %q; see clone list", ErrNoVM, ref)
	case 1:
		return found[0], nil
	}
	return Info{}, fmt.Errorf("%w %q: %s", ErrAmbiguous, ref, join(found))
}

// beginsID tells whether ref names a VM by the beginning of its id. A number never does: the PID of a VM that has just died
// must not name another one.
func beginsID(ref, id string) bool {
	return len(ref) >= minBeginning && isHex(ref) && !isNumeric(ref) && strings.HasPrefix(id, ref)
}

// join lists VMs in a message, the first few of them.
func join(infos []Info) string {
	const most = 8
	var names []string
	for i, info := range infos {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(infos)-most))
			break
		}
		names = append(names, info.String())
	}
	return strings.Join(names, ", ")
}
