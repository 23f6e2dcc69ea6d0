package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	mountPoint = "/sys/fs/cgroup"
	prefix     = "clone-" // of a group's name, before the VM's id
	variable   = "CLONE_CGROUP"
)

// hierarchy is cgroup v2 as this process finds it.
type hierarchy struct {
	mount  string // where it is mounted
	self   string // directory of the caller's own group
	chosen string // what $CLONE_CGROUP says; may be empty
	root   bool   // the caller is root
}

// ErrUnavailable is wrapped by errors that mean: this host, or this user, cannot limit VMs as things are.
var ErrUnavailable = errors.New("control groups are not available")

func find() (hierarchy, error) {
	h := hierarchy{mount: mountPoint, chosen: os.Getenv(variable), root: os.Geteuid() == 0}
	var st unix.Statfs_t
	if err := unix.Statfs(h.mount, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return h, fmt.Errorf("%w: cgroup v2 is not mounted at %s; boot the host with systemd.unified_cgroup_hierarchy=1, or: mount -t cgroup2 none %s",
			ErrUnavailable, h.mount, h.mount)
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return h, err
	}
	h.self = filepath.Join(h.mount, ownGroup(string(text)))
	return h, nil
}

// ownGroup finds the cgroup v2 line of /proc/self/cgroup, "0::/PATH".
func ownGroup(text string) string {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	return "/"
}

// place is the group below which VMs have theirs; it may not exist yet.
func (h hierarchy) place() (string, error) {
	switch {
	case h.chosen != "":
		path := filepath.Clean(h.chosen)
		if !strings.HasPrefix(path+"/", h.mount+"/") {
			return "", fmt.Errorf("%w: %s=%s is not below %s", ErrUnavailable, variable, h.chosen, h.mount)
		}
		return path, nil
	case h.root:
		return filepath.Join(h.mount, "clone"), nil
	case h.self == h.mount:
		return h.mount, nil
	}
	return filepath.Dir(h.self), nil
}

// base is place, made where it is ours to make.
func (h hierarchy) base() (string, error) {
	path, err := h.place()
	if err == nil && h.root {
		if err = os.Mkdir(path, 0o755); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err != nil {
		return "", explain(err)
	}
	return path, nil
}

// enable makes a group hand out the controllers to its children, and those above it hand them down.
func (h hierarchy) enable(path string, need []string) error {
	missing := without(need, words(filepath.Join(path, "cgroup.subtree_control")))
	if len(missing) == 0 {
		return nil
	}
	if lacks := without(missing, words(filepath.Join(path, "cgroup.controllers"))); len(lacks) > 0 {
		if path == h.mount || !strings.HasPrefix(path, h.mount+"/") {
			return fmt.Errorf("%w: %s lacks %s; cgroup v1 may have it: boot the host with systemd.unified_cgroup_hierarchy=1",
				ErrUnavailable, filepath.Join(path, "cgroup.controllers"), strings.Join(lacks, ", "))
		}
		if err := h.enable(filepath.Dir(path), lacks); err != nil {
			return err
		}
	}
	return write(filepath.Join(path, "cgroup.subtree_control"), "+"+strings.Join(missing, " +"))
}

func words(path string) []string {
	b, _ := os.ReadFile(path) // what cannot be read offers nothing
	return strings.Fields(string(b))
}

func without(list, has []string) (rest []string) {
	for _, w := range list {
		if !slices.Contains(has, w) {
			rest = append(rest, w)
		}
	}
	return rest
}

func write(path, value string) error {
	return explain(os.WriteFile(path, []byte(value), 0o644))
}

// explain adds the remedy to what the kernel says.
func explain(err error) error {
	const own = "set " + variable + " to a control group that is yours and has no processes of its own"
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w; run as root, or under `systemd-run --user --scope -p Delegate=yes`, or "+own, ErrUnavailable, err)
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%w: %w: processes are in that group, so it cannot limit groups below it; move them into a child of it, or "+own, ErrUnavailable, err)
	}
	return err
}

// isGroup tells the name of a VM's group.
func isGroup(name string) bool {
	id, ok := strings.CutPrefix(name, prefix)
	return ok && len(id) == 12 && strings.Trim(id, "0123456789abcdef") == ""
}
