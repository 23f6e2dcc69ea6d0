package initd

import (
	"os"

	"golang.org/x/sys/unix"
)

// mountOverlay mounts device read-only, with a layer in guest RAM over it that
// takes the writes, at target.
func mountOverlay(device, fstype, target string) error {
	const lower, upper = "/lower", "/upper"
	for _, dir := range []string{lower, upper} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return explain("make "+dir, err)
		}
	}
	if err := mountDisk(device, lower, fstype, unix.MS_RDONLY); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", upper, "tmpfs", 0, "mode=0755"); err != nil {
		return explain("mount the overlay's writable layer", err)
	}
	if err := stackOverlay(lower, upper, target); err != nil {
		return err
	}
	// The overlay holds both layers itself; nothing else needs their names,
	// and the initrd they lie in goes away.
	for _, dir := range []string{lower, upper} {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return explain("detach "+dir, err)
		}
	}
	return nil
}

// stackOverlay mounts at target the directory lower with its changes in upper.
func stackOverlay(lower, upper, target string) error {
	changes, work := upper+"/changes", upper+"/work"
	for _, dir := range []string{changes, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return explain("make "+dir, err)
		}
	}
	// The top directory of an overlay is that of its upper layer.
	var st unix.Stat_t
	if err := unix.Stat(lower, &st); err != nil {
		return explain("look at the root directory", err)
	}
	if err := unix.Chown(changes, int(st.Uid), int(st.Gid)); err != nil {
		return explain("copy the root directory's owner", err)
	}
	if err := unix.Chmod(changes, st.Mode&0o7777); err != nil {
		return explain("copy the root directory's mode", err)
	}
	options := "lowerdir=" + lower + ",upperdir=" + changes + ",workdir=" + work
	if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
		return explain("mount the overlay", err)
	}
	// Missing mount points cost nothing in RAM.
	for _, m := range rootMountPoints {
		var st unix.Stat_t
		if unix.Lstat(target+m, &st) != nil {
			if err := os.Mkdir(target+m, 0o755); err != nil {
				return explain("make "+m+" in the overlay", err)
			}
		}
	}
	return nil
}
