package session

import (
	"fmt"

	"clone/internal/cgroup"
	"clone/internal/control"

	"golang.org/x/sys/unix"
)

// standsStill tells whether a snapshot has to keep the guest paused until its memory is written, because a VM with a memory
// limit has no room for the copies of the pages that the guest would change meanwhile. The kernel would look for something
// to kill: the frozen copy first, but the VM too when that does not give its memory back at once.
//
// What is written to a tmpfs is memory, and the VM's; where there is no room for that either, it is an error.
func (s *Session) standsStill(dir string) (bool, error) {
	group := s.dir.Info().Cgroup
	if group == "" || s.opts.Limits.Memory == 0 {
		return false, nil
	}
	u, err := cgroup.UsageOf(group)
	if err != nil {
		return false, nil // nothing is known against it
	}
	need := u.Anon
	if onTmpfs(dir) {
		if u.Room() < u.Anon+reserve {
			return false, fmt.Errorf("%w: the template would be in memory, on the tmpfs %s, and is charged to the VM, whose --mem-max %s "+
				"leaves no room for it: keep templates on a disk (CLONE_HOME)", control.ErrConflict, dir, control.SizeText(s.opts.Limits.Memory))
		}
		need += u.Anon
	}
	return u.Room() < need+reserve, nil
}

// reserve is what the writing itself may take, bytes.
const reserve = 8 << 20

// noRoom is the note of a snapshot for which the guest stood still.
const noRoom = "the VM stood still while its memory was written, because its --mem-max leaves no room for what it would have changed meanwhile"

func onTmpfs(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC
}
