package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// InitName is the name by which the host's kernel starts process 1. It lies in
// the run directory, beside the order.
const InitName = "clone-testhost-init"

// orderName is the order's file name in the run directory.
const orderName = "order.json"

// An Order is what process 1 has to do. All paths are absolute.
type Order struct {
	Command  []string // program and arguments
	Dir      string   // working directory
	Env      []string // the command's whole environment
	Writable []string // directories that are not under the overlay, a directory before those inside it
	Kernel   string   // directory of the running kernel, with lib/modules
	Modules  []string // its modules to load, unpacked, in this order
	Stdin    bool     // whether frames of kind Stdin will come; otherwise it is /dev/null
}

// A Status is how the order ended.
type Status struct {
	Exit  int    // the command's exit status, 128+n when signal n ended it
	Error string // why the host failed, if it did; Exit means nothing then
}

// WriteOrder puts o into runDir.
func WriteOrder(runDir string, o Order) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	// It may hold secrets of the caller's environment.
	return os.WriteFile(filepath.Join(runDir, orderName), b, 0o600)
}

func readOrder(runDir string) (Order, error) {
	var o Order
	b, err := os.ReadFile(filepath.Join(runDir, orderName))
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("%s: %w", orderName, err)
	}
	if len(o.Command) == 0 {
		return o, fmt.Errorf("%s: no command", orderName)
	}
	return o, nil
}

// ParseStatus reads the payload of a frame of kind Result and returns the
// command's exit status, or the error that the host failed with.
func ParseStatus(payload []byte) (int, error) {
	var s Status
	if err := json.Unmarshal(payload, &s); err != nil {
		return 0, fmt.Errorf("unreadable status %.100q: %w", payload, err)
	}
	if s.Error != "" {
		return 0, errors.New(s.Error)
	}
	if s.Exit < 0 || s.Exit > 255 {
		return 0, fmt.Errorf("impossible exit status %d", s.Exit)
	}
	return s.Exit, nil
}
