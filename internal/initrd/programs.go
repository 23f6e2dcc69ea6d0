package initrd

import (
	"embed"
	"errors"
	"io/fs"
)

// all: takes .gitignore along, so that the directory is never empty and a
// clean clone of the source compiles.
//
//go:embed all:programs
var embedded embed.FS

// Programs are the static programs that run in the guest.
type Programs struct {
	Init  []byte // clone-init, PID 1
	Agent []byte // clone-agent
}

// ErrNoPrograms is returned where the guest programs are wanted and were not
// embedded.
var ErrNoPrograms = errors.New("this clone was built without its guest programs; run make build")

// EmbeddedPrograms returns the guest programs this binary carries.
func EmbeddedPrograms() (Programs, error) { return readPrograms(embedded) }

func readPrograms(files fs.FS) (Programs, error) {
	var p Programs
	for name, to := range map[string]*[]byte{"clone-init": &p.Init, "clone-agent": &p.Agent} {
		b, err := fs.ReadFile(files, "programs/"+name)
		if errors.Is(err, fs.ErrNotExist) || (err == nil && len(b) == 0) {
			return Programs{}, ErrNoPrograms
		}
		if err != nil {
			return Programs{}, err
		}
		*to = b
	}
	return p, nil
}
