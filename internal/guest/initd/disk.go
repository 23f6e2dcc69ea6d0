package initd

import (
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"clone/internal/initrd/bootconf"
)

const (
	newRoot = "/newroot"
	// diskWait bounds the wait for the root disk. Drivers bind while their
	// module loads, so it is there at once or was never attached; the
	// rest is for slow emulation.
	diskWait = 10 * time.Second
	diskPoll = 5 * time.Millisecond
)

// mountRoot mounts the root disk at newRoot as cfg says.
func mountRoot(cfg bootconf.Config) error {
	if err := waitForDisk(cfg.RootDevice, diskWait); err != nil {
		return err
	}
	fstype := cfg.RootFSType
	if fstype == "" {
		var err error
		if fstype, err = detectFilesystem(cfg.RootDevice); err != nil {
			return err
		}
	}
	if bootconf.ReadOnlyFilesystem(fstype) && cfg.Root == bootconf.RootReadWrite {
		return errors.New("root disk " + cfg.RootDevice + " has " + fstype + ", which cannot be written: use an overlay (--overlay)")
	}
	if err := haveFilesystem(fstype); err != nil {
		return err
	}
	if err := os.Mkdir(newRoot, 0o755); err != nil {
		return explain("make "+newRoot, err)
	}
	switch cfg.Root {
	case bootconf.RootOverlay:
		return mountOverlay(cfg.RootDevice, fstype, newRoot)
	case bootconf.RootReadOnly:
		return mountDisk(cfg.RootDevice, newRoot, fstype, unix.MS_RDONLY)
	default:
		return mountDisk(cfg.RootDevice, newRoot, fstype, 0)
	}
}

// waitForDisk waits until device is there.
func waitForDisk(device string, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(diskPoll) {
		var st unix.Stat_t
		if err := unix.Stat(device, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("root disk " + device + " did not appear in " + limit.String() + "; disks present: " + disks())
		}
	}
}

// disks lists the block devices that the kernel knows.
func disks() string {
	entries, err := os.ReadDir("/sys/block")
	if err != nil || len(entries) == 0 {
		return "none"
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// detectFilesystem reads the type of the file system on device.
func detectFilesystem(device string) (string, error) {
	f, err := os.Open(device)
	if err != nil {
		return "", explain("open the root disk", err)
	}
	defer f.Close()
	head := make([]byte, bootconf.SuperblockBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", explain("read the root disk", err)
	}
	fstype := bootconf.Filesystem(head[:n])
	if fstype == "" {
		return "", errors.New("root disk " + device + " has no file system that can be a root (ext4, xfs, btrfs, squashfs, erofs): a partitioned disk image must be given as its root partition alone")
	}
	return fstype, nil
}

// haveFilesystem reports whether the running kernel can mount fstype.
func haveFilesystem(fstype string) error {
	text, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return explain("list the kernel's file systems", err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if _, name, ok := strings.Cut(line, "\t"); ok && name == fstype {
			return nil
		}
	}
	return errors.New("the root disk has " + fstype + ", and this kernel has no driver for it")
}

func mountDisk(device, target, fstype string, flags uintptr) error {
	err := unix.Mount(device, target, fstype, flags, "")
	switch {
	case err == nil:
		return nil
	case flags&unix.MS_RDONLY != 0 && errors.Is(err, unix.EROFS):
		// A journal to replay, on a disk that cannot be written.
		return errors.New("the root image was not unmounted cleanly and is attached read-only: boot it once without an overlay, or repair it with fsck on the host")
	case flags&unix.MS_RDONLY == 0 && (errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES)):
		return errors.New("the root disk " + device + " cannot be written: attach it writable, or use an overlay (--overlay)")
	default:
		return explain("mount the "+fstype+" root disk "+device, err)
	}
}
