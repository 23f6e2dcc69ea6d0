package control

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// wholeFile is a write lock from the first byte to the end, however the file grows.
func wholeFile() unix.Flock_t { return unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: 0, Len: 0} }

// openLocked opens path, creating it, and locks it, waiting for whoever has it. Closing the file unlocks it, and so does
// the end of the process.
func openLocked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	lock := wholeFile()
	for {
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &lock)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return f, nil
}

// isLocked tells whether somebody holds path locked. It only asks: unlike trying to take the lock, that can disturb
// nobody who is about to take it.
func isLocked(path string) (bool, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	lock := wholeFile()
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock); err != nil {
		return false, &fs.PathError{Op: "query lock", Path: path, Err: err}
	}
	return lock.Type != unix.F_UNLCK, nil
}
