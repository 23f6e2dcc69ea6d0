package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Writer is a template in the making, in a directory of its own beside the others.
type Writer struct {
	store    *Store
	name     string
	dir      string
	lock     *os.File
	manifest Manifest
}

// Create begins a template. A name that is taken is refused at once, and again at Commit.
func (s *Store) Create(name string, m Manifest) (*Writer, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	s.reap()
	if s.Exists(name) {
		return nil, taken(name)
	}
	dir, lock, err := s.aside()
	if err != nil {
		return nil, fmt.Errorf("create template: %w", err)
	}
	m.FormatVersion, m.Name, m.Created = FormatVersion, name, time.Now().UTC()
	return &Writer{store: s, name: name, dir: dir, lock: lock, manifest: m}, nil
}

func taken(name string) error {
	return fmt.Errorf("%w: %s; choose another name or `clone template rm %s` first", ErrExists, name, name)
}

// Memory writes the memory image.
func (w *Writer) Memory(src MemorySource) (err error) {
	w.manifest.Memory, err = writeMemory(filepath.Join(w.dir, "memory"), src)
	return err
}

// State writes the machine state.
func (w *Writer) State(b []byte) error {
	w.manifest.State = describe(b)
	return writeSynced(filepath.Join(w.dir, "state"), b)
}

// Commit seals the template and gives it its name. After an error the writer is aborted.
func (w *Writer) Commit() (*Manifest, error) {
	defer w.Abort()
	b, err := json.MarshalIndent(&w.manifest, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := w.manifest.validate(); err != nil {
		return nil, err
	}
	if err := writeSynced(filepath.Join(w.dir, "manifest.json"), b); err != nil {
		return nil, err
	}
	if err := writeSynced(filepath.Join(w.dir, "manifest.sha256"), []byte(describe(b).SHA256+"\n")); err != nil {
		return nil, err
	}
	if err := syncDir(w.dir); err != nil {
		return nil, err
	}
	err = unix.Renameat2(unix.AT_FDCWD, w.dir, unix.AT_FDCWD, filepath.Join(w.store.root, w.name), unix.RENAME_NOREPLACE)
	if errors.Is(err, fs.ErrExist) {
		return nil, taken(w.name)
	}
	if err != nil {
		return nil, fmt.Errorf("name template: %w", err)
	}
	w.dir = ""
	return &w.manifest, syncDir(w.store.root)
}

// Abort removes what was written, unless it was committed.
func (w *Writer) Abort() {
	if w.dir != "" {
		os.RemoveAll(w.dir)
		w.dir = ""
	}
	if w.lock != nil {
		w.lock.Close()
		w.lock = nil
	}
}

// writeSynced writes a file that is never to change again and waits until it is on the disk.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
