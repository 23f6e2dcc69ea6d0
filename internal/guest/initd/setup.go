package initd

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// kernelMount is one file system that every Linux has at the same place.
type kernelMount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

// kernelMounts are made in the initrd and moved into the root, runtimeMounts
// in the root itself.
var (
	kernelMounts = []kernelMount{
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	}
	// The options are systemd's: it takes mounts that are there as they are.
	runtimeMounts = []kernelMount{
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
		{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=01777"},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755,size=20%"},
	}
)

func (m kernelMount) mount() error {
	err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data)
	if err != nil && !errors.Is(err, unix.EBUSY) { // EBUSY: it is there already
		return explain("mount "+m.target, err)
	}
	return nil
}

// mountKernelFilesystems makes /proc, /sys and /dev of the initrd.
func mountKernelFilesystems() error {
	for _, m := range kernelMounts {
		_ = os.Mkdir(m.target, 0o755) // mount tells if it is missing
		if err := m.mount(); err != nil {
			return err
		}
	}
	return nil
}

// mountRuntime makes what lies inside /dev, and /run. devtmpfs can always be
// written; /run was checked by switchRoot.
func mountRuntime() error {
	for _, m := range runtimeMounts {
		_ = os.Mkdir(m.target, 0o755)
		if err := m.mount(); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		_ = os.Symlink(target, link) // there already on a kernel that makes them
	}
	return nil
}

// openConsole makes /dev/console standard input, output and error. The kernel
// did so before, unless its built-in initramfs has no /dev/console.
func openConsole() {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return // no console: lines go nowhere, and the boot goes on
	}
	for std := 0; std <= 2; std++ {
		if fd != std {
			_ = unix.Dup3(fd, std, 0)
		}
	}
	if fd > 2 {
		_ = unix.Close(fd)
	}
}
