package snapshot

import (
	"errors"
	"os"
	"path/filepath"
)

// Notes are what forks learn about a template, to help later forks. They are advice and no part of the template, which
// never changes: files beside it, named after the checksum of its state, that may be missing, damaged or gone at any time.

// maxNoteBytes bounds what is read.
const maxNoteBytes = 1 << 20

const notesDir = ".notes"

func (t *Template) notePath(kind string) string {
	return filepath.Join(t.store, notesDir, t.Manifest.Name, kind+"-"+t.Manifest.State.SHA256[:min(16, len(t.Manifest.State.SHA256))])
}

// Note returns what was noted, or an error when nothing was.
func (t *Template) Note(kind string) ([]byte, error) {
	dir, name := filepath.Split(t.notePath(kind))
	return readBounded(os.DirFS(dir), name, maxNoteBytes)
}

// SetNote replaces a note.
func (t *Template) SetNote(kind string, b []byte) error {
	if len(b) > maxNoteBytes {
		return errors.New("note is too long")
	}
	path := t.notePath(kind)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
