package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Registry is the run-time directory that all VMs of one user share:
//
//	lock          held while a VM is created or reaped
//	names/NAME    → ../ID, one link for each named VM
//	ended         why VMs were killed that their limits killed, the last few; see End
//	ID/           one directory for each VM; see Dir
//	ended/ID.json how a VM ended, of the last ones; see Ended
type Registry struct{ base string }

// maxSocketName is room for the longest socket in a VM's directory: "vsock.sock_" and a 32-bit port.
const maxSocketName = len("vsock.sock_4294967295")

// Open opens the caller's registry, creating it where it does not exist: $CLONE_RUNTIME_DIR, or
// $XDG_RUNTIME_DIR/clone, or /run/clone.
func Open() (*Registry, error) {
	if dir := os.Getenv("CLONE_RUNTIME_DIR"); dir != "" {
		return OpenAt(dir)
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" || !ownedBySelf(dir) { // sudo -E leaves the variable of another user
		dir = "/run"
	}
	r, err := OpenAt(filepath.Join(dir, "clone"))
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; set XDG_RUNTIME_DIR or CLONE_RUNTIME_DIR to a directory of yours", err)
	}
	return r, err
}

// OpenAt opens the registry in the directory base, creating it where it does not exist.
func OpenAt(base string) (*Registry, error) {
	if !filepath.IsAbs(base) {
		return nil, fmt.Errorf("run-time directory %q: give an absolute path", base)
	}
	base = filepath.Clean(base)
	// sun_path of unix(7) holds 107 bytes and a NUL.
	if n := len(base) + len("/") + idDigits + len("/") + maxSocketName; n > 107 {
		return nil, fmt.Errorf("run-time directory %s: the path is %d bytes too long for the sockets in it", base, n-107)
	}
	fi, err := os.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(base, 0o700); err != nil {
			return nil, fmt.Errorf("creating the run-time directory: %w", err)
		}
		fi, err = os.Lstat(base)
	}
	if err != nil {
		return nil, fmt.Errorf("run-time directory: %w", err)
	}
	switch {
	case !fi.IsDir():
		return nil, fmt.Errorf("run-time directory %s is not a directory", base)
	case !isOwn(fi):
		return nil, fmt.Errorf("run-time directory %s belongs to another user", base)
	case fi.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("run-time directory %s has mode %04o: others could enter it; chmod 700 it", base, fi.Mode().Perm())
	}
	return &Registry{base: base}, nil
}

func isOwn(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

func ownedBySelf(dir string) bool {
	fi, err := os.Stat(dir)
	return err == nil && fi.IsDir() && isOwn(fi)
}

// Path is the directory that holds everything.
func (r *Registry) Path() string { return r.base }

// Dir is the path of a VM's directory.
func (r *Registry) Dir(id string) string { return filepath.Join(r.base, id) }

// ControlSocket is the path of a VM's control socket.
func (r *Registry) ControlSocket(id string) string { return filepath.Join(r.base, id, "control.sock") }

// VsockSocket is the path of the socket that reaches a VM's vsock ports.
func (r *Registry) VsockSocket(id string) string { return filepath.Join(r.base, id, "vsock.sock") }

func (r *Registry) nameLink(name string) string { return filepath.Join(r.base, "names", name) }

// List returns every live VM, oldest first, and removes what dead ones have left.
func (r *Registry) List() ([]Info, error) {
	entries, err := os.ReadDir(r.base)
	if err != nil {
		return nil, fmt.Errorf("listing VMs: %w", err)
	}
	infos := make([]Info, 0, len(entries))
	var errs []error
	for _, e := range entries {
		if !isID(e.Name()) {
			continue
		}
		info, err := r.load(e.Name())
		switch {
		case err == nil:
			infos = append(infos, info)
		case errors.Is(err, ErrNoVM):
			errs = append(errs, r.Reap(e.Name()))
		default:
			errs = append(errs, err)
		}
	}
	slices.SortFunc(infos, func(a, b Info) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return infos, errors.Join(errs...)
}
