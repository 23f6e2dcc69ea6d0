package control

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"clone/internal/config"
)

// State is where a VM is in its life.
type State string

// The states. A VM that has ended has no state: its directory is gone.
const (
	Starting State = "starting" // the process exists; the guest's agent has not answered yet
	Running  State = "running"
	Paused   State = "paused"
)

// Info is what a VM says of itself: the content of vm.json, and the answer to GET /v1/vm.
type Info struct {
	ID        string    `json:"id"`       // 12 hexadecimal digits, chosen by Create
	Name      string    `json:"name"`     // empty where none was given
	PID       int       `json:"pid"`      // of the VM's process
	State     State     `json:"state"`    //
	Template  string    `json:"template"` // the template it was forked from; empty where it booted
	VCPUs     int       `json:"vcpus"`
	MemoryMiB uint64    `json:"memory_mib"` // guest RAM
	CID       uint32    `json:"cid"`        // vsock context id
	UUID      string    `json:"uuid"`       // the VM's identity as the guest sees it
	Created   time.Time `json:"created"`
	Version   string    `json:"version"`           // of the clone program that runs it
	RAM       string    `json:"ram"`               // where guest RAM is mapped in the process, as /proc/PID/maps writes it
	MemMax    uint64    `json:"mem_max,omitempty"` // limit in bytes, 0 for none
	CPUMax    float64   `json:"cpu_max,omitempty"` // limit in processors, 0 for none
	Cgroup    string    `json:"cgroup,omitempty"`  // the VM's control group; empty where it has none of its own
	// CopiesKilled is how many processes of the group the kernel has killed that were frozen copies for a snapshot, and not
	// the VM.
	CopiesKilled uint64 `json:"copies_killed,omitempty"`
}

// String names the VM in a message: "web (0123456789ab)".
func (i Info) String() string {
	if i.Name == "" {
		return i.ID
	}
	return i.Name + " (" + i.ID + ")"
}

const idDigits = 12

// newID makes an id that begins with a letter, so that no beginning of it is a number: a number is a PID, see beginsID.
func newID() string {
	var b [idDigits / 2]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program where the kernel has no randomness
	const letters = 'f' - 'a' + 1
	b[0] = (0xa+b[0]>>4%letters)<<4 | b[0]&0xf
	return hex.EncodeToString(b[:])
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

func isID(s string) bool { return len(s) == idDigits && isHex(s) }

func isNumeric(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// ErrName is wrapped by every refusal of a name's form.
var ErrName = errors.New("invalid VM name")

// CheckName reports why a VM cannot have this name. The empty name is no name, and allowed.
func CheckName(name string) error {
	switch {
	case name == "":
		return nil
	case !config.ValidName(name):
		return fmt.Errorf("%w %q: use at most 63 letters, digits, '_', '.' and '-', beginning with a letter or digit", ErrName, name)
	case isNumeric(name):
		return fmt.Errorf("%w %q: a number would be taken for a process id", ErrName, name)
	case isID(name):
		return fmt.Errorf("%w %q: it would be taken for a VM's id", ErrName, name)
	}
	return nil
}
