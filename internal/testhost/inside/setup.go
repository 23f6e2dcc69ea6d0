package inside

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// scratch is where the overlay is built, out of sight of the command in the end.
// It must exist on every machine.
const scratch = "/run"

// A mountPoint is a file system of the new root.
type mountPoint struct {
	dir, fstype, options string
	flags                uintptr
}

var mountPoints = []mountPoint{
	{"proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"sys", "sysfs", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"sys/fs/cgroup", "cgroup2", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"dev", "devtmpfs", "", unix.MS_NOSUID},
	{"dev/pts", "devpts", "ptmxmode=0666", unix.MS_NOSUID | unix.MS_NOEXEC},
	{"dev/shm", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
	{"run", "tmpfs", "mode=755", unix.MS_NOSUID | unix.MS_NODEV},
	{"tmp", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
}

// deviceLinks are what /dev has beside the devices themselves.
var deviceLinks = map[string]string{
	"fd":     "/proc/self/fd",
	"stdin":  "/proc/self/fd/0",
	"stdout": "/proc/self/fd/1",
	"stderr": "/proc/self/fd/2",
}

// setUp turns the freshly booted kernel into the host that the order describes.
// When it returns, the overlay is the root.
func setUp(order Order) error {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, module := range order.Modules {
		if err := loadModule(module); err != nil {
			return err
		}
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	modulesDir := filepath.Join("lib/modules", unix.ByteSliceToString(uts.Release[:]))

	// Taken before anything is mounted over them.
	trees := make(map[string]int)
	for _, dir := range order.Writable {
		fd, err := cloneTree(dir)
		if err != nil {
			return err
		}
		trees[dir] = fd
	}
	modulesTree, err := cloneTree(filepath.Join(order.Kernel, modulesDir))
	if err != nil {
		return err
	}

	root, err := mountOverlay()
	if err != nil {
		return err
	}
	for _, m := range mountPoints {
		dir := filepath.Join(root, m.dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fstype, dir, m.fstype, m.flags, m.options); err != nil {
			return fmt.Errorf("mount /%s: %w", m.dir, err)
		}
	}
	for name, target := range deviceLinks {
		if err := os.Symlink(target, filepath.Join(root, "dev", name)); err != nil {
			return err
		}
	}
	for _, dir := range order.Writable {
		if err := attachTree(trees[dir], filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	if err := attachTree(modulesTree, filepath.Join(root, modulesDir)); err != nil {
		return err
	}
	if err := enterRoot(root); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("testhost")); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	return loopbackUp()
}

// mountOverlay returns the directory where the root file system appears under a
// tmpfs overlay.
func mountOverlay() (string, error) {
	if err := unix.Mount("overlay", scratch, "tmpfs", 0, "mode=755"); err != nil {
		return "", fmt.Errorf("mount %s: %w", scratch, err)
	}
	upper, work, root := scratch+"/upper", scratch+"/work", scratch+"/root"
	for _, dir := range []string{upper, work, root} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
	}
	options := "lowerdir=/,upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return "", fmt.Errorf("mount the root overlay: %w", err)
	}
	return root, nil
}

// enterRoot makes root the root of this process and hides the old one. A chroot
// would do for most commands, but a process in one may not create user
// namespaces.
func enterRoot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("chdir %s: %w", root, err)
	}
	// With both arguments the same, the old root ends up over the new one, from
	// where it is unmounted: pivot_root(2), NOTES.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return unix.Chdir("/")
}

// cloneTree takes a detached bind mount of dir.
func cloneTree(dir string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open_tree %s: %w", dir, err)
	}
	return fd, nil
}

// attachTree mounts what cloneTree returned on dir, and closes fd.
func attachTree(fd int, dir string) error {
	defer unix.Close(fd)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount %s: %w", dir, err)
	}
	return nil
}

// loopbackUp sets the lo interface up, as every host has it.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}
