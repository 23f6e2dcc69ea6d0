package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"clone/internal/cgroup"
)

// leaveGroup removes the control group of a dead VM, and tells why the kernel killed it, if it did, and whether that was for
// the VM's own limit.
func leaveGroup(vm Info) (why string, atLimit bool) {
	if vm.Cgroup == "" {
		return "", false
	}
	if kills, err := cgroup.KillsOf(vm.Cgroup); err == nil && kills.Processes > vm.CopiesKilled {
		if atLimit = kills.AtLimit > 0 && vm.MemMax != 0; atLimit {
			why = "it reached its memory limit (--mem-max " + SizeText(vm.MemMax) + "), and the kernel killed it"
		} else {
			why = "the host's memory ran out, and the kernel killed it"
		}
	}
	const patience = 2 * time.Second
	_ = cgroup.RemoveEmptied(vm.Cgroup, patience) // else cgroup.Reap does
	return why, atLimit
}

// ReapGroups removes the control groups that no VM's directory leads to: their VMs ended without being able to do so, or
// were killed before they had said which theirs was.
func (r *Registry) ReapGroups() error {
	return cgroup.Reap(func(id string) bool {
		_, err := os.Lstat(r.Dir(id)) // a dead VM's too: whoever reaps it reads in the group why it died
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// SizeText is a number of bytes as --mem-max takes it: "300M", "1G".
func SizeText(n uint64) string {
	units := []string{"", "K", "M", "G", "T"}
	for n >= 1024 && n%1024 == 0 && len(units) > 1 {
		n, units = n/1024, units[1:]
	}
	return fmt.Sprint(n) + units[0]
}
