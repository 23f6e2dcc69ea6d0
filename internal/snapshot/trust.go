package snapshot

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What is in a template becomes a machine with this user's rights over its devices: a template is run only where nobody but
// this user, or root, can have written it. That holds for the directory of templates, the template, and each of its files,
// asked of the open descriptor, so that what was checked is what is read. A link that leads out of a template is refused, by
// os.Root: what is there is not the template's.

// trustedFlags open a file of a template: a FIFO does not make us wait.
const trustedFlags = os.O_RDONLY | unix.O_NONBLOCK

// openTrusted opens a file of a template for reading.
func openTrusted(root *os.Root, name string) (*os.File, error) {
	return trusted(root.OpenFile(name, trustedFlags, 0))
}

// trusted passes on a file that was opened with trustedFlags, unless it is not to be trusted.
func trusted(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", f.Name())
	}
	if err == nil {
		err = checkWriters(f.Name(), info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// checkWriters refuses what somebody else could have written.
func checkWriters(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return fmt.Errorf("%s: its owner is unknown", path)
	case int(st.Uid) != os.Geteuid() && st.Uid != 0:
		return fmt.Errorf("%s belongs to user %d: a template of someone else is not run", path, st.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by others (mode %o): chmod go-w it if you trust its content", path, info.Mode().Perm())
	}
	return nil
}

// checkOwner refuses a directory that somebody else could have written.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a template directory", dir)
	}
	return checkWriters(dir, info)
}
