package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// scratch is the directory in which one image is made. It lies beside the
// target, on the same file system, under a name derived from the target's: so
// the finished image is renamed into place, and what a killed build left is
// found and removed by the next one.
type scratch struct {
	dir  string
	lock *os.File // dir itself, flock'ed: two builds of one target exclude each other
}

// newScratch takes the scratch directory of output, removing stale content.
func newScratch(output string) (*scratch, error) {
	dir := filepath.Join(filepath.Dir(output), "."+filepath.Base(output)+".clone-rootfs")
	for {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("make the scratch directory: %w", err)
		}
		f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // the build that held it has just finished
		}
		if err != nil {
			return nil, fmt.Errorf("open the scratch directory: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			return nil, fmt.Errorf("another build of %s is under way (%s is locked): %w", output, dir, err)
		}
		s := &scratch{dir: dir, lock: f}
		here, err1 := f.Stat()
		there, err2 := os.Stat(dir)
		if err1 != nil || err2 != nil || !os.SameFile(here, there) {
			f.Close() // removed by its former owner between our open and our lock
			continue
		}
		if err := s.empty(); err != nil {
			f.Close()
			return nil, err
		}
		return s, nil
	}
}

func (s *scratch) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scratch) empty() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("read the scratch directory: %w", err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(s.path(e.Name())); err != nil {
			return fmt.Errorf("remove what an earlier build left: %w", err)
		}
	}
	return nil
}

// remove deletes the directory with all it holds and gives up the lock.
func (s *scratch) remove() error {
	err := os.RemoveAll(s.dir)
	return errors.Join(err, s.lock.Close())
}

// publish syncs file and gives it the name output. Unless replace is set,
// an existing output is left alone and an error returned.
func publish(file, output string, replace bool) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync the image: %w", err)
	}
	if replace {
		err = os.Rename(file, output)
	} else {
		// A link fails where the name is taken: no window, on every kernel.
		err = os.Link(file, output)
	}
	if errors.Is(err, os.ErrExist) {
		return taken(output)
	}
	if err != nil {
		return fmt.Errorf("name the finished image: %w", err)
	}
	d, err := os.Open(filepath.Dir(output))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func taken(output string) error {
	return fmt.Errorf("%s: %w: remove it or choose another name", output, os.ErrExist)
}
