package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// CacheDir is $CLONE_CACHE, or .cache/clone in the home directory; an absolute path.
func CacheDir() (string, error) {
	if dir := os.Getenv("CLONE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for the cache: set CLONE_CACHE: %w", err)
	}
	return filepath.Join(home, ".cache", "clone"), nil
}

// newRunDir makes and locks a directory for one emulated host, after removing
// those whose owner died. The returned file holds the lock: closing it gives the
// directory up.
func newRunDir(ctx context.Context, cacheDir string) (string, *os.File, error) {
	parent := filepath.Join(cacheDir, "run")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", nil, err
	}
	// Held from before the new directory exists until it is locked, so that
	// nobody takes it for abandoned in between.
	all, err := lock(ctx, parent)
	if err != nil {
		return "", nil, err
	}
	defer all.Close()
	reapRunDirs(parent)
	dir, err := os.MkdirTemp(parent, "")
	if err != nil {
		return "", nil, err
	}
	held, err := lock(ctx, dir)
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return dir, held, nil
}

// reapRunDirs removes the run directories that nobody holds. Failures are left
// for the next run: they harm nothing.
func reapRunDirs(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if held, err := tryLock(dir); err == nil {
			os.RemoveAll(dir)
			held.Close()
		}
	}
}

// lockInterval is how often lock asks again. A blocking flock could not be
// interrupted.
const lockInterval = 50 * time.Millisecond

// lock opens dir and takes an exclusive flock on it, waiting for others to give
// it up.
func lock(ctx context.Context, dir string) (*os.File, error) {
	for {
		f, err := tryLock(dir)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockInterval):
		}
	}
}

// tryLock fails with EWOULDBLOCK if somebody else has the lock.
func tryLock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: dir, Err: err}
	}
	return f, nil
}
