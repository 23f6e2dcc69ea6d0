package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// qcow2Magic begins every QEMU copy-on-write image.
const qcow2Magic = "QFI\xfb"

// raw is an image whose bytes are the disk's bytes: a regular file or a block device.
type raw struct {
	path     string
	fd       int
	size     int64
	readOnly bool
}

// OpenRaw opens and locks a raw image: a regular file or a block device. A size that is not a multiple of SectorSize
// is rounded down, as Linux does for a loop device: the rest at the end is out of reach and stays as it is.
//
// The error wraps ErrLocked when another open of the image excludes this one.
func OpenRaw(path string, opts Options) (Image, error) {
	// O_NONBLOCK: a FIFO given by mistake is an error below, not a wait for its other end.
	flags := unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_RDWR
	if opts.ReadOnly {
		flags = flags&^unix.O_RDWR | unix.O_RDONLY
	}
	fd, err := retry(func() (int, error) { return unix.Open(path, flags, 0) })
	if err != nil {
		return nil, openError(path, opts, err)
	}
	r := &raw{path: path, fd: fd, readOnly: opts.ReadOnly}
	if err := r.admit(); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return r, nil
}

// admit checks that the open file can serve as a raw disk, and locks it. The content is looked at under the lock.
func (r *raw) admit() error {
	var st unix.Stat_t
	if err := unix.Fstat(r.fd, &st); err != nil {
		return r.fail("stat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK:
	case unix.S_IFDIR:
		return errDirectory(r.path)
	default:
		return fmt.Errorf("disk image %s is neither a regular file nor a block device", r.path)
	}
	if err := r.lock(&st); err != nil {
		return err
	}
	// The end of a block device is found by seeking; its stat says 0.
	end, err := unix.Seek(r.fd, 0, io.SeekEnd)
	if err != nil {
		return r.fail("find the size", err)
	}
	r.size = end - end%SectorSize
	if r.size == 0 {
		return fmt.Errorf("disk image %s is empty (%d bytes): make it with `truncate -s 1G %s` or `clone rootfs create`",
			r.path, end, r.path)
	}
	magic := make([]byte, len(qcow2Magic))
	if err := r.ReadAtv([][]byte{magic}, 0); err != nil {
		return err
	}
	if string(magic) == qcow2Magic {
		return fmt.Errorf("disk image %s is a qcow2 image, which is not supported yet, and used as a raw one it would be"+
			" corrupted: convert it with `qemu-img convert -O raw %s NEW.img`", r.path, r.path)
	}
	return nil
}

func (r *raw) Name() string   { return r.path }
func (r *raw) Size() int64    { return r.size }
func (r *raw) ReadOnly() bool { return r.readOnly }

func (r *raw) Close() error {
	if err := unix.Close(r.fd); err != nil {
		return r.fail("close", err)
	}
	return nil
}

// fail words an error of the host about this image.
func (r *raw) fail(action string, err error) error {
	return fmt.Errorf("disk image %s: %s: %w", r.path, action, err)
}

func openError(path string, opts Options, err error) error {
	switch {
	case errors.Is(err, unix.EISDIR):
		return errDirectory(path)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("disk image %s does not exist: check the path, or make it with `truncate -s 1G %s` or"+
			" `clone rootfs create`: %w", path, path, err)
	case !opts.ReadOnly && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)):
		return fmt.Errorf("disk image %s cannot be opened for writing: allow it, or use the image read-only"+
			" (--block %s,ro or --rootfs %s --overlay): %w", path, path, path, err)
	}
	return fmt.Errorf("disk image %s: open: %w", path, err)
}

func errDirectory(path string) error {
	return fmt.Errorf("disk image %s is a directory: give an image file or a block device"+
		" (`clone rootfs create --from-dir %s` makes one of a tree)", path, path)
}

// retry repeats a system call that a signal interrupted; the Go runtime itself sends them.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}
