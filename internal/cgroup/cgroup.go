package cgroup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a VM: of its whole process, guest RAM and monitor, and of what the kernel holds for it.
type Limits struct {
	Memory uint64  // bytes; 0 is no limit
	CPU    float64 // processors, such as 0.5 or 2; 0 is no limit
}

// Any tells whether there is a limit at all.
func (l Limits) Any() bool { return l.Memory != 0 || l.CPU != 0 }

// Bounds of limits.
const (
	MinMemory = 16 << 20 // bytes: below, not even the monitor has room
	MinCPU    = 0.01     // processors: the kernel takes no quota under a millisecond of period
	MaxCPU    = 4096
)

// Check returns why these limits cannot be.
func (l Limits) Check() error {
	switch {
	case l.Memory != 0 && l.Memory < MinMemory:
		return fmt.Errorf("a memory limit of %d bytes: at least %d MiB", l.Memory, MinMemory>>20)
	case l.CPU != 0 && !(l.CPU >= MinCPU && l.CPU <= MaxCPU): // NaN is not between them either
		return fmt.Errorf("a limit of %v processors: %v to %v", l.CPU, MinCPU, MaxCPU)
	}
	return nil
}

const (
	period  = 100_000 // microseconds in which the quota of cpu.max is given, the kernel's default
	maxPIDs = 1024    // threads: far above what a VM has, so that a fault cannot take the host's
)

// Group is the control group that this process was moved into.
type Group struct{ path, before, root string }

// Path is the group's directory.
func (g *Group) Path() string { return g.path }

// Join makes the group of VM id, sets its limits and moves the calling process into it. Memory that was charged before stays
// where it is, so it comes before guest RAM is touched.
func Join(id string, l Limits) (*Group, error) {
	h, err := find()
	if err != nil {
		return nil, fmt.Errorf("limits for the VM: %w", err)
	}
	g, err := h.join(id, l)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		g, err = h.join(id, l) // reaped by somebody who does not know this VM, between its making and its filling
	}
	if err != nil {
		return nil, fmt.Errorf("limits for the VM: %w", err)
	}
	return g, nil
}

func (h hierarchy) join(id string, l Limits) (g *Group, err error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	base, err := h.base()
	if err != nil {
		return nil, err
	}
	if err := h.enable(base, l.controllers()); err != nil {
		return nil, err
	}
	g = &Group{path: filepath.Join(base, prefix+id), before: h.self, root: h.mount}
	if err := os.Mkdir(g.path, 0o755); err != nil {
		return nil, explain(err)
	}
	defer func() {
		if err != nil {
			_ = Remove(g.path)
		}
	}()
	for _, s := range l.settings() {
		if err := write(filepath.Join(g.path, s.file), s.value); err != nil {
			return nil, err
		}
	}
	return g, write(filepath.Join(g.path, "cgroup.procs"), "0") // 0: whoever writes
}

func (l Limits) controllers() []string {
	need := []string{"memory", "pids"} // memory also counts, for those who limit processor time only
	if l.CPU != 0 {
		need = append(need, "cpu")
	}
	return need
}

type setting struct{ file, value string }

func (l Limits) settings() []setting {
	list := []setting{{"pids.max", strconv.Itoa(maxPIDs)}}
	if l.Memory != 0 {
		// Without memory.oom.group: a VM is one process, and the other one that may be in its group, the frozen copy of its
		// memory while a snapshot is written, is there to be killed in its place.
		list = append(list, setting{"memory.max", strconv.FormatUint(l.Memory, 10)})
	}
	if l.CPU != 0 {
		list = append(list, setting{"cpu.max", fmt.Sprintf("%d %d", int64(math.Round(l.CPU*period)), period)})
	}
	return list
}

// Leave moves the calling process back to where it was, and removes the group.
func (g *Group) Leave() error {
	err := write(filepath.Join(g.before, "cgroup.procs"), "0")
	if errors.Is(err, fs.ErrNotExist) { // the login session or the service that started the VM has ended, and its group with it
		err = write(filepath.Join(g.root, "cgroup.procs"), "0")
	}
	if err != nil {
		return err
	}
	return Remove(g.path)
}

// Remove removes a group that no process is in. One that is gone already is no error.
func Remove(path string) error {
	if !isGroup(filepath.Base(path)) {
		return fmt.Errorf("control group %s is not one of a VM", path)
	}
	if err := syscall.Rmdir(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}

// RemoveEmptied removes a group once its last process has left, or does not for as long as patience: a process that dies has
// closed its files, by which it is known to be dead, a moment before it leaves its group.
func RemoveEmptied(path string, patience time.Duration) error {
	err := Remove(path)
	if errors.Is(err, syscall.EBUSY) && awaitEmpty(path, patience) {
		err = Remove(path)
	}
	return err
}

// awaitEmpty waits for the event of that name (cgroup.events, cgroup v2 "Un-populated Notification").
func awaitEmpty(path string, patience time.Duration) bool {
	f, err := os.Open(filepath.Join(path, "cgroup.events"))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	buf := make([]byte, 256)
	for end := time.Now().Add(patience); ; {
		n, err := f.ReadAt(buf, 0)
		if err != nil && err != io.EOF {
			return false
		}
		if parseKeyed(string(buf[:n]))["populated"] == 0 {
			return true
		}
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		// The kernel tells of a change since the last read.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}, int(left.Milliseconds())+1)
	}
}

// Reap removes the groups of VMs that are not alive. One that still has a process, of whoever's VM, is left alone. The
// run-time directories of dead VMs are reaped first: why a VM was killed is read from its group.
func Reap(alive func(id string) bool) error {
	h, err := find()
	if err != nil {
		return nil // no cgroup v2, so no groups
	}
	return h.reap(alive)
}

func (h hierarchy) reap(alive func(id string) bool) error {
	base, err := h.place()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control groups of dead VMs: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !isGroup(e.Name()) || alive(strings.TrimPrefix(e.Name(), prefix)) {
			continue
		}
		if err := Remove(filepath.Join(base, e.Name())); err != nil && !errors.Is(err, syscall.EBUSY) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
