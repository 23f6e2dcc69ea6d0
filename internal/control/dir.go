package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Dir is a VM's own directory, held by the process that is the VM for its whole life:
//
//	lock          locked: the VM is alive
//	vm.json       its Info
//	control.sock  the server of this package
//	vsock.sock    its vsock ports
//	log           what its process said on standard error after it was ready; see crash.go
type Dir struct {
	r    *Registry
	lock *os.File // closing it is the end of the VM, as far as anybody else can see

	mu   sync.Mutex // guards info and the writing of vm.json
	info Info
}

// ErrNameTaken is wrapped by Create's error where another live VM has the name.
var ErrNameTaken = errors.New("name is taken")

// Create makes the directory of a new VM, whose process is the caller's, and takes its name. It chooses the id, and the
// PID, state and time of creation where info has none.
func (r *Registry) Create(info Info) (*Dir, error) {
	if err := CheckName(info.Name); err != nil {
		return nil, err
	}
	if info.PID == 0 {
		info.PID = os.Getpid()
	}
	if info.State == "" {
		info.State = Starting
	}
	if info.Created.IsZero() {
		info.Created = time.Now()
	}
	registry, err := openLocked(r.registryLock())
	if err != nil {
		return nil, fmt.Errorf("creating the VM's run-time directory: %w", err)
	}
	defer registry.Close()
	if info.Name != "" {
		if err := r.freeName(info.Name); err != nil {
			return nil, err
		}
	}
	d, err := r.makeDir(info)
	if err != nil {
		return nil, fmt.Errorf("creating the VM's run-time directory: %w", err)
	}
	return d, nil
}

// makeDir makes the directory, and the link last: whenever it is killed, reaping the directory removes everything. The
// caller holds the registry's lock and has seen that the name is free.
func (r *Registry) makeDir(info Info) (d *Dir, err error) {
	info.ID = newID()
	path := r.Dir(info.ID)
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	d = &Dir{r: r, info: info}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.lock, err = openLocked(filepath.Join(path, "lock")); err != nil {
		return nil, err
	}
	if err := d.write(); err != nil {
		return nil, err
	}
	if info.Name == "" {
		return d, nil
	}
	link, target := r.nameLink(info.Name), filepath.Join("..", info.ID)
	err = os.Symlink(target, link)
	if errors.Is(err, fs.ErrNotExist) { // the first name of all
		if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
			return nil, err
		}
		err = os.Symlink(target, link)
	}
	return d, err
}

// write replaces vm.json at once: a reader sees the old one or the new one.
func (d *Dir) write() error {
	b, err := json.Marshal(&d.info)
	if err != nil {
		return err
	}
	path := filepath.Join(d.Path(), "vm.json")
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Update changes the VM's Info and stores it. The id and the name stay: they are what others found the VM by.
func (d *Dir) Update(change func(*Info)) error {
	d.Note(change)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.write(); err != nil {
		return fmt.Errorf("storing the VM's state: %w", err)
	}
	return nil
}

// Note changes the VM's Info, and leaves it to the next Update to store it: on the way to a running guest each writing counts.
func (d *Dir) Note(change func(*Info)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, name := d.info.ID, d.info.Name
	change(&d.info)
	d.info.ID, d.info.Name = id, name
}

// SetState is Update of the state alone.
func (d *Dir) SetState(s State) error { return d.Update(func(i *Info) { i.State = s }) }

// Info is what is stored now.
func (d *Dir) Info() Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}

// Path of the directory.
func (d *Dir) Path() string { return d.r.Dir(d.info.ID) }

// ControlSocket is the path Listen listens on.
func (d *Dir) ControlSocket() string { return d.r.ControlSocket(d.info.ID) }

// VsockSocket is where the VM's vsock device puts its socket.
func (d *Dir) VsockSocket() string { return d.r.VsockSocket(d.info.ID) }

// Listen makes the control socket, for Serve.
func (d *Dir) Listen() (net.Listener, error) {
	l, err := net.Listen("unix", d.ControlSocket())
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// Close removes the directory and gives the name back. The VM counts as ended afterwards; SetEnd, called before, says why.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	// The lock goes last: as long as it is held nobody else reaps, so the link, if it is ours, stays ours.
	err := d.r.remove(d.info.ID, d.info.Name)
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
		d.lock = nil
	}
	if err != nil {
		return fmt.Errorf("removing the VM's run-time directory: %w", err)
	}
	return nil
}
