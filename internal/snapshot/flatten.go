package snapshot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Flatten rewrites a layered template as one that stands alone, under the same name and id: templates that build on it
// still do, and forks that run keep what they mapped. One that stands alone is left as it is. The layers are verified
// first: what is damaged would otherwise get the right checksum.
func (s *Store) Flatten(ctx context.Context, name string, progress func(done, total uint64)) error {
	s.reap()
	t, err := s.Open(name)
	if err != nil {
		return err
	}
	defer t.Close()
	if t.Manifest.Parent == nil {
		return nil
	}
	if err := t.Verify(progress); err != nil {
		return err
	}
	state, err := t.State()
	if err != nil {
		return err
	}
	w, err := s.write(*t.Manifest)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := w.State(state); err != nil {
		return err
	}
	if err := w.Memory(ctx, Contents{Own: nothing(t.Manifest.Memory.SizeBytes), Base: t.image}); err != nil {
		return err
	}
	return w.exchange()
}

// exchange seals the template and puts it in the place of the one that has its name and id, which is removed.
func (w *Writer) exchange() error {
	if err := w.seal(); err != nil {
		return err
	}
	unlock, err := w.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if now, err := readManifest(os.DirFS(filepath.Join(w.store.root, w.name))); err != nil || now.ID != w.manifest.ID {
		return fmt.Errorf("template %s was removed or replaced while it was rewritten: it is left as it is now", w.name)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, w.dir, unix.AT_FDCWD, filepath.Join(w.store.root, w.name), unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("exchange template: %w", err)
	}
	if err := syncDir(w.store.root); err != nil {
		return err
	}
	old := w.dir
	w.dir = "" // nothing to abort any more
	return os.RemoveAll(old)
}
