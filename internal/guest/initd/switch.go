package initd

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// rootMountPoints are directories every root file system must have.
var rootMountPoints = []string{"/proc", "/sys", "/dev", "/run"}

// switchRoot makes root the root directory of the machine and frees what the
// initrd took. It is what switch_root(8) does: the initial file system itself
// cannot be unmounted or pivoted away from.
func switchRoot(root string) error {
	if err := checkMountPoints(root); err != nil {
		return err
	}
	for _, m := range kernelMounts {
		if err := unix.Mount(m.target, root+m.target, "", unix.MS_MOVE, ""); err != nil {
			return explain("move "+m.target, err)
		}
	}
	old, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return explain("open the initrd", err)
	}
	defer unix.Close(old)
	if err := unix.Chdir(root); err != nil {
		return explain("enter the root file system", err)
	}
	freeInitrd(old)
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return explain("move the root file system", err)
	}
	if err := unix.Chroot("."); err != nil {
		return explain("change the root directory", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return explain("enter the root file system", err)
	}
	return nil
}

// checkMountPoints makes sure that the root has what will be mounted on. A
// link would lead into the initrd, as the root has not changed yet.
func checkMountPoints(root string) error {
	var missing []string
	for _, m := range rootMountPoints {
		var st unix.Stat_t
		if err := unix.Lstat(root+m, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			missing = append(missing, m)
		}
	}
	if len(missing) > 0 {
		return errors.New("the root file system has no directory " + strings.Join(missing, ", ") + ": make it in the image")
	}
	return nil
}

// freeInitrd deletes the files of the initrd, which are in RAM, through an
// open directory of it. Other file systems mounted there are left alone.
func freeInitrd(dir int) {
	var fs unix.Statfs_t
	if unix.Fstatfs(dir, &fs) != nil || (fs.Type != unix.RAMFS_MAGIC && fs.Type != unix.TMPFS_MAGIC) {
		return // not an initrd in RAM: deleting would destroy something
	}
	var st unix.Stat_t
	if unix.Fstat(dir, &st) == nil {
		removeBelow(dir, st.Dev)
	}
}

// removeBelow empties dir of everything on device. Failures cost memory only.
func removeBelow(dir int, device uint64) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), "initrd")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return
	}
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != device {
			continue
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			_ = unix.Unlinkat(dir, name, 0)
			continue
		}
		sub, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		removeBelow(sub, device)
		_ = unix.Close(sub)
		_ = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	}
}
