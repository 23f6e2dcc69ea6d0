package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clone/internal/cgroup"
)

// End is the end of a VM that its process could not tell of itself, because the kernel killed it.
type End struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	PID    int       `json:"pid"`
	At     time.Time `json:"at"`     // when it was noticed
	Reason string    `json:"reason"` // for people: "it reached its memory limit (--mem-max 300M), and the kernel killed it"
}

// keptEnds is how many ends are remembered.
const keptEnds = 64

func (r *Registry) endsFile() string { return filepath.Join(r.base, "ended") }

// noteEnd remembers why a dead VM ended, where that is known, and removes its control group. Whoever reaps the VM first
// calls it, with the registry's lock held. What cannot be found out is not worth an error: the VM has ended in any case.
func (r *Registry) noteEnd(vm Info) {
	if vm.Cgroup == "" {
		return
	}
	if killed, err := cgroup.Killed(vm.Cgroup); err == nil && killed {
		ends := append(r.ends(), End{
			ID: vm.ID, Name: vm.Name, PID: vm.PID, At: time.Now(),
			Reason: "it reached its memory limit (--mem-max " + SizeText(vm.MemMax) + "), and the kernel killed it",
		})
		r.writeEnds(ends[max(0, len(ends)-keptEnds):])
	}
	_ = cgroup.Remove(vm.Cgroup) // else cgroup.Reap does
}

// ends reads what is remembered, oldest first. A file that makes no sense is no memory.
func (r *Registry) ends() (list []End) {
	text, err := os.ReadFile(r.endsFile())
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(text) {
		var e End
		if json.Unmarshal(line, &e) == nil {
			list = append(list, e)
		}
	}
	return list
}

func (r *Registry) writeEnds(list []End) {
	var b bytes.Buffer
	for _, e := range list {
		_ = json.NewEncoder(&b).Encode(e)
	}
	path := r.endsFile()
	if os.WriteFile(path+".new", b.Bytes(), 0o600) == nil {
		_ = os.Rename(path+".new", path)
	}
}

// EndOf tells why the VM with this id, or, where that is empty, with this PID, was killed, if that is known. A VM whose
// process is dead is reaped for it.
func (r *Registry) EndOf(id string, pid int) (End, bool) {
	if id != "" {
		_ = r.Reap(id)
	} else {
		_, _ = r.List()
	}
	for _, e := range slices.Backward(r.ends()) {
		if e.ID == id || id == "" && e.PID == pid {
			return e, true
		}
	}
	return End{}, false
}

// lastEnd explains, where it can, why there is no VM that ref names.
func (r *Registry) lastEnd(ref string, err error) error {
	if !errors.Is(err, ErrNoVM) || ref == "" {
		return err
	}
	for _, e := range slices.Backward(r.ends()) {
		if e.Name == ref || isHex(ref) && strings.HasPrefix(e.ID, ref) || fmt.Sprint(e.PID) == ref {
			return fmt.Errorf("%w: VM %s ended at %s: %s", ErrNoVM, Info{ID: e.ID, Name: e.Name}, e.At.Format(time.RFC3339), e.Reason)
		}
	}
	return err
}

// SizeText is a number of bytes as --mem-max takes it: "300M", "1G".
func SizeText(n uint64) string {
	units := []string{"", "K", "M", "G", "T"}
	for n >= 1024 && n%1024 == 0 && len(units) > 1 {
		n, units = n/1024, units[1:]
	}
	return fmt.Sprint(n) + units[0]
}
