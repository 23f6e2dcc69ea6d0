package agentd

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// copyIn writes a file beside its place and renames it there when it is whole
// and on disk: whoever opens it sees the old one or the new one.
func (r *request) copyIn(m agentproto.CopyIn) error {
	path, err := target(m.Path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".clone-copy-*")
	if err != nil {
		return err
	}
	err = r.receive(f, m)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// target is the file that path means: through a symbolic link, since the rename
// would replace the link otherwise.
func target(path string) (string, error) {
	if strings.HasSuffix(path, "/") {
		return "", failed(path, unix.EISDIR)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	st, err := os.Lstat(path)
	switch {
	case err == nil && st.IsDir():
		return "", failed(path+" (name the file, not its directory)", unix.EISDIR)
	case err == nil && !st.Mode().IsRegular():
		return "", failed(path+" is not a regular file", unix.EINVAL)
	}
	return path, nil
}

// receive writes what the host sends to f, with its owner and mode.
func (r *request) receive(f *os.File, m agentproto.CopyIn) error {
	buf := getBuffer()
	defer putBuffer(buf)
	var size uint64
	for {
		n, err := r.take(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if size += uint64(n); size > m.Size {
			return failed("more bytes than announced", unix.EFBIG)
		}
		if _, err := f.Write(buf[:n]); err != nil {
			return err
		}
		if err := r.taken(n); err != nil {
			return err
		}
	}
	if m.Size != agentproto.SizeUnknown && size != m.Size {
		return failed("fewer bytes than announced", unix.EIO)
	}
	if m.UID != agentproto.KeepOwner || m.GID != agentproto.KeepOwner {
		// KeepOwner is the kernel's -1.
		if err := f.Chown(int(int32(m.UID)), int(int32(m.GID))); err != nil {
			return err
		}
	}
	// Last: chown clears the set-id bits, and the umask does not apply.
	if err := control(f, func(fd int) error { return unix.Fchmod(fd, m.Mode) }); err != nil {
		return failed("chmod "+f.Name(), err)
	}
	return nil
}
