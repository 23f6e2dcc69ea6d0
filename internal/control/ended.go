package control

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StateEnded is the state of a VM in a record of its end. No live VM has it.
const StateEnded State = "ended"

// StatusUnknown is the exit status in a record where nobody saw it: the process was killed, or crashed.
const StatusUnknown = -1

// Ended is the record of a VM that has ended: what it was, and why it is no longer there.
type Ended struct {
	Info
	Ended  time.Time `json:"ended"`       // of a killed process: when it was found dead
	Status int       `json:"exit_status"` // of its process; StatusUnknown where nobody saw it
	Reason string    `json:"reason"`      // one line
	// Console is the end of what the guest printed, where it did not end in order and nobody else saw it.
	Console string `json:"console,omitempty"`
	// AtLimit is whether the kernel killed it because it had reached its memory limit.
	AtLimit bool `json:"at_limit,omitempty"`
}

// Said is the end in a message: "it ended 12 s ago: the guest powered off".
func (e Ended) Said(now time.Time) string {
	ago := max(now.Sub(e.Ended), 0)
	switch {
	case ago < 2*time.Minute:
		return fmt.Sprintf("it ended %d s ago: %s", ago/time.Second, e.Reason)
	case ago < 2*time.Hour:
		return fmt.Sprintf("it ended %d min ago: %s", ago/time.Minute, e.Reason)
	}
	return fmt.Sprintf("it ended at %s: %s", e.Ended.Format(time.DateTime), e.Reason)
}

// MaxEnded is how many records are kept, the newest.
const MaxEnded = 64

const (
	maxRecord = 64 << 10 // bytes of a record that are read
	maxReason = 1 << 10  // bytes of a reason that are kept
	// MaxConsole is how many bytes of a console are kept.
	MaxConsole = 8 << 10
)

func (r *Registry) endedDir() string { return filepath.Join(r.base, "ended") }

func (r *Registry) endedPath(id string) string { return filepath.Join(r.endedDir(), id+".json") }

// SetEnd records why the VM ends; its own process calls it before Close. It takes no lock and waits for nobody. An error
// means that there is no record, and nothing else. Console is the end of what the guest printed, or empty.
func (d *Dir) SetEnd(status int, reason, console string) error {
	console = strings.ToValidUTF8(console[max(0, len(console)-MaxConsole):], "")
	return d.r.record(Ended{Info: d.Info(), Ended: time.Now(), Status: status, Reason: reason, Console: console})
}

// record stores how a VM ended, unless that is known already, and forgets the oldest records.
func (r *Registry) record(e Ended) error {
	e.State, e.Reason = StateEnded, oneLine(e.Reason)
	b, err := json.Marshal(&e)
	if err != nil {
		return err
	}
	// It is written in the VM's directory: a half goes with that, whoever is killed.
	draft := filepath.Join(r.Dir(e.ID), "ended.json")
	_ = os.Remove(draft) // another's, which may have its link: it must not be written to
	if err := os.WriteFile(draft, append(b, '\n'), 0o600); err != nil {
		return err
	}
	// A link, unlike a rename, does not replace: who was there first knows best.
	err = os.Link(draft, r.endedPath(e.ID))
	if errors.Is(err, fs.ErrNotExist) { // the first record of all
		if err := os.MkdirAll(r.endedDir(), 0o700); err != nil {
			return err
		}
		err = os.Link(draft, r.endedPath(e.ID))
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return r.forgetOldest()
}

// forgetOldest keeps the newest records. Others may be doing the same: what is gone already is no error.
func (r *Registry) forgetOldest() error {
	entries, err := os.ReadDir(r.endedDir())
	if err != nil || len(entries) <= MaxEnded {
		return err
	}
	type aged struct {
		name string
		at   time.Time
	}
	var all []aged
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			all = append(all, aged{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return b.at.Compare(a.at) })
	for _, old := range all[min(MaxEnded, len(all)):] {
		if err := os.Remove(filepath.Join(r.endedDir(), old.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Ended returns the records of VMs that have ended, the newest first. Those that cannot be read are left out.
func (r *Registry) Ended() ([]Ended, error) {
	entries, err := os.ReadDir(r.endedDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing VMs that have ended: %w", err)
	}
	var all []Ended
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), ".json"); ok && isID(id) {
			if e, err := r.readEnded(id); err == nil {
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b Ended) int { return cmp.Or(b.Ended.Compare(a.Ended), strings.Compare(a.ID, b.ID)) })
	return all, nil
}

func (r *Registry) readEnded(id string) (e Ended, err error) {
	b, err := readStart(r.endedPath(id), maxRecord)
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	e.ID = id
	return e, err
}

// EndOf returns how the VM with this id ended or, where that is empty, the last one with this PID. A VM that is dead and not
// yet reaped is.
func (r *Registry) EndOf(id string, pid int) (e Ended, ok bool) {
	if id == "" {
		_, _ = r.List() // reaps
		return r.lastEnd(strconv.Itoa(pid))
	}
	if !isID(id) || r.Reap(id) != nil {
		return e, false
	}
	e, err := r.readEnded(id)
	return e, err == nil
}

// lastEnd returns the newest record of a VM that ref names, in any of the forms that Find takes. The empty ref names all.
func (r *Registry) lastEnd(ref string) (Ended, bool) {
	all, _ := r.Ended() // without records there is nothing to add to a message
	for _, e := range all {
		if ref == "" || e.Name == ref || e.ID == ref || isNumeric(ref) && strconv.Itoa(e.PID) == ref || beginsID(ref, e.ID) {
			return e, true
		}
	}
	return Ended{}, false
}

// oneLine keeps a reason one line of printable text, and short.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
}
