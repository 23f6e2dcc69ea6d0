package snapshot

import (
	"context"
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

// Contents is a machine's memory: its own pages, and below them the image it began with, nil for a machine that was booted.
type Contents struct {
	Own  MemorySource
	Base *Image
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
	m.Name, m.Created, m.ID = name, time.Now().UTC(), newID()
	return s.write(m)
}

func (s *Store) write(m Manifest) (*Writer, error) {
	dir, lock, err := s.aside()
	if err != nil {
		return nil, fmt.Errorf("create template: %w", err)
	}
	m.FormatVersion, m.Parent, m.Index = FormatVersion, nil, nil
	return &Writer{store: s, name: m.Name, dir: dir, lock: lock, manifest: m}, nil
}

func taken(name string) error {
	return fmt.Errorf("%w: %s; choose another name or `clone template rm %s` first", ErrExists, name, name)
}

// Memory writes the whole memory, so that the template stands alone.
func (w *Writer) Memory(ctx context.Context, c Contents) (err error) {
	w.manifest.Memory, err = writeMemory(ctx, filepath.Join(w.dir, "memory"), c.Own, c.Base)
	return err
}

// Layer writes what differs from the parent's memory.
func (w *Writer) Layer(ctx context.Context, c Contents, parent *Template) error {
	if size := parent.Manifest.Memory.SizeBytes; size != c.Own.Size() {
		return fmt.Errorf("template %s has %d MiB of memory, the machine %d: it cannot build on it", parent.Name(), size>>20, c.Own.Size()>>20)
	}
	if parent.depth >= maxDepth {
		return fmt.Errorf("template %s has %d others below it, which is the most: `clone template flatten %s` makes one of them, or take it with --full",
			parent.Name(), parent.depth-1, parent.Name())
	}
	memory, extents, err := writeLayer(ctx, filepath.Join(w.dir, "memory"), c.Own, c.Base, parent.image)
	if err != nil {
		return err
	}
	index := formatIndex(extents)
	described := describe(index)
	w.manifest.Memory, w.manifest.Index = memory, &described
	w.manifest.Parent = &Parent{Name: parent.Name(), ID: parent.Manifest.ID}
	return writeSynced(filepath.Join(w.dir, "memory.map"), index)
}

// State writes the machine state.
func (w *Writer) State(b []byte) error {
	w.manifest.State = describe(b)
	return writeSynced(filepath.Join(w.dir, "state"), b)
}

// Commit seals the template and gives it its name. After an error the writer is aborted.
func (w *Writer) Commit() (*Manifest, error) {
	defer w.Abort()
	if err := w.seal(); err != nil {
		return nil, err
	}
	unlock, err := w.store.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if p := w.manifest.Parent; p != nil {
		if err := w.store.checkParent(*p); err != nil {
			return nil, err
		}
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

// seal writes the manifest and waits until everything is on the disk.
func (w *Writer) seal() error {
	b, err := json.MarshalIndent(&w.manifest, "", "  ")
	if err != nil {
		return err
	}
	if err := w.manifest.validate(); err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(w.dir, "manifest.json"), b); err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(w.dir, "manifest.sha256"), []byte(describe(b).SHA256+"\n")); err != nil {
		return err
	}
	return syncDir(w.dir)
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
