package disk

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lock takes the whole image, without waiting: shared to read, exclusive to write. The lock belongs to the open file
// description, so that two opens in one process exclude each other as two processes do.
func (r *raw) lock(st *unix.Stat_t) error {
	kind := int16(unix.F_WRLCK)
	if r.readOnly {
		kind = unix.F_RDLCK
	}
	// Start 0 and length 0: every byte there is and will be.
	err := unix.FcntlFlock(uintptr(r.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: unix.SEEK_SET})
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES):
		return r.fail("lock (its file system must support locks)", err)
	case r.readOnly:
		return fmt.Errorf("%w: disk image %s is being written by %s: stop that VM first, or use a copy of the image",
			ErrLocked, r.path, holder(st))
	default:
		return fmt.Errorf("%w: disk image %s is open in %s and a writable image belongs to one VM alone: stop that VM"+
			" first, use a copy, or use it read-only in every VM (--block %s,ro or --rootfs %s --overlay)",
			ErrLocked, r.path, holder(st), r.path, r.path)
	}
}

// holder names the processes that hold a lock on the file, as far as we may see them. It is for an error message: it
// reads the lock lines of /proc/PID/fdinfo, because F_OFD_GETLK tells no process (fcntl(2)).
func holder(st *unix.Stat_t) string {
	file := fmt.Sprintf(" %02x:%02x:%d ", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	infos, _ := filepath.Glob("/proc/[0-9]*/fdinfo/*")
	var names []string
	for _, info := range infos {
		if !holdsLock(info, file) {
			continue
		}
		pid := strings.Split(info, "/")[2]
		name := "process " + pid
		if comm, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil {
			name += " (" + strings.TrimSpace(string(comm)) + ")"
		}
		if pid == strconv.Itoa(os.Getpid()) {
			name = "this VM (is the image given twice?)"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "another process"
	}
	return strings.Join(names, ", ")
}

// holdsLock tells whether a descriptor's fdinfo has a lock on the file, given as the kernel prints device and inode.
func holdsLock(info, file string) bool {
	f, err := os.Open(info)
	if err != nil {
		return false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "lock:") && strings.Contains(line, file) {
			return true
		}
	}
	return false
}
