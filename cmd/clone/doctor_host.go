package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"clone/internal/control"
)

// oldestKernel has everything that is used without asking first, such as pidfd_open(2).
var oldestKernel = [2]int{5, 10}

// pagemapScanKernel has PAGEMAP_SCAN: a snapshot of a fork finds its own pages faster.
var pagemapScanKernel = [2]int{6, 7}

func (h host) kernel() finding {
	f := finding{Name: "host kernel", State: stateOK, Detail: h.read("/proc/sys/kernel/osrelease")}
	var v [2]int
	if _, err := fmt.Sscanf(f.Detail, "%d.%d", &v[0], &v[1]); err != nil {
		f.State, f.Detail = stateWarn, "its version is unknown"
		return f
	}
	older := func(than [2]int) bool { return v[0] < than[0] || v[0] == than[0] && v[1] < than[1] }
	switch {
	case older(oldestKernel):
		f.State, f.Remedy = stateMissing, fmt.Sprintf("use Linux %d.%d or later", oldestKernel[0], oldestKernel[1])
	case older(pagemapScanKernel):
		f.Detail += fmt.Sprintf(", without PAGEMAP_SCAN (%d.%d)", pagemapScanKernel[0], pagemapScanKernel[1])
	}
	return f
}

// leastMemory is what a small template and some forks of it take, in bytes.
const leastMemory = 1 << 30

func (h host) memory() finding {
	f := finding{Name: "free memory", State: stateOK}
	n := memAvailable(h.read("/proc/meminfo"))
	switch {
	case n == 0:
		f.State, f.Detail = stateWarn, "unknown"
	case n < leastMemory:
		f.State, f.Remedy = stateWarn, "end something, or use small VMs: clone run --mem-mb 256"
		fallthrough
	default:
		f.Detail = bytesText(n) + " available"
	}
	return f
}

// memAvailable finds the bytes of MemAvailable in the text of /proc/meminfo, 0 where there is none.
func memAvailable(meminfo string) uint64 {
	for line := range strings.Lines(meminfo) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 50)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

func (h host) runtimeDirectory() finding {
	f := finding{Name: "run-time directory", State: stateOK}
	registry, err := control.Open()
	if err != nil {
		f.State, f.Detail, f.Remedy = stateMissing, err.Error(), "set CLONE_RUNTIME_DIR to a private directory of yours"
		return f
	}
	f.Detail = registry.Path()
	return f
}

// device is the finding about a device file that something is better with.
func (h host) device(name, path, module, without string) finding {
	f := finding{Name: name, State: stateOK, Detail: path + " opens"}
	err := h.opens(path)
	switch {
	case err == nil:
		return f
	case errors.Is(err, fs.ErrNotExist):
		f.Detail, f.Remedy = path+" does not exist", "modprobe "+module
	case errors.Is(err, fs.ErrPermission):
		f.Detail, f.Remedy = path+" may not be opened", "run as root, or give your user access to "+path
	default:
		f.Detail, f.Remedy = err.Error(), "modprobe "+module
	}
	f.State, f.Detail = stateWarn, f.Detail+": "+without
	return f
}

func (h host) vhostVsock() finding {
	return h.device("vhost-vsock", "/dev/vhost-vsock", "vhost_vsock", "vsock goes through the VM's process")
}

func (h host) vhostNet() finding {
	return h.device("vhost-net", "/dev/vhost-net", "vhost_net", "network packets go through the VM's process")
}

func (h host) tun() finding {
	return h.device("tun", "/dev/net/tun", "tun", "VMs have no network interface")
}

func (h host) userfaultfd() finding {
	f := finding{Name: "userfaultfd", State: stateOK, Detail: "available"}
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno == 0 {
		unix.Close(int(fd))
		return f
	}
	if h.opens("/dev/userfaultfd") == nil {
		f.Detail = "available through /dev/userfaultfd"
		return f
	}
	f.State, f.Detail = stateWarn, errno.Error()+": memory cannot be loaded as it is touched"
	if errno == unix.EPERM {
		f.Remedy = "run as root, or: sysctl vm.unprivileged_userfaultfd=1"
	} else {
		f.Remedy = "use a kernel with CONFIG_USERFAULTFD"
	}
	return f
}

func (h host) ksm() finding {
	f := finding{Name: "KSM"}
	switch run := h.read("/sys/kernel/mm/ksm/run"); run {
	case "1":
		f.State, f.Detail = stateOK, "on: equal pages that forks have changed are merged (echo 0 > /sys/kernel/mm/ksm/run stops it)"
	case "":
		f.State, f.Detail = stateWarn, "not in this kernel: equal pages that forks have changed stay separate"
	default:
		f.State, f.Detail = stateWarn, "off: equal pages that forks have changed stay separate"
		f.Remedy = "echo 1 > /sys/kernel/mm/ksm/run, if saving memory is worth processor time, and a side channel between VMs"
	}
	return f
}

func (h host) hugePages() finding {
	f := finding{Name: "huge pages", State: stateOK}
	mode := selected(h.read("/sys/kernel/mm/transparent_hugepage/enabled"))
	reserved := h.read("/proc/sys/vm/nr_hugepages")
	if mode == "" {
		f.State, mode = stateWarn, "not in this kernel"
	}
	if reserved == "" {
		reserved = "0"
	}
	f.Detail = "transparent: " + mode + ", reserved: " + reserved
	if mode == "never" {
		f.State, f.Remedy = stateWarn, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: guests that boot run faster"
	}
	return f
}

// selected is the word in brackets of "always [madvise] never".
func selected(text string) string {
	_, rest, _ := strings.Cut(text, "[")
	word, _, ok := strings.Cut(rest, "]")
	if !ok {
		return ""
	}
	return word
}

func (h host) overcommit() finding {
	f := finding{Name: "overcommit", State: stateOK, Detail: "memory is given when it is touched"}
	if h.read("/proc/sys/vm/overcommit_memory") == "2" {
		f.State, f.Detail = stateWarn, "strict: every fork is charged for all of its memory, shared or not"
		f.Remedy = "sysctl vm.overcommit_memory=0"
	}
	return f
}

func (h host) cgroup() finding {
	f := finding{Name: "cgroup v2", State: stateOK}
	has := strings.Fields(h.read("/sys/fs/cgroup/cgroup.controllers"))
	if len(has) == 0 {
		f.State, f.Detail = stateWarn, "not mounted at /sys/fs/cgroup: VMs cannot be limited"
		f.Remedy = "boot the host with systemd.unified_cgroup_hierarchy=1, or: mount -t cgroup2 none /sys/fs/cgroup"
		return f
	}
	f.Detail = "controllers: " + strings.Join(has, " ")
	for _, need := range []string{"memory", "cpu", "pids"} {
		if !slices.Contains(has, need) {
			f.State, f.Remedy = stateWarn, "boot the host with systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory: --mem-max and --cpu-max need memory, cpu and pids"
			return f
		}
	}
	// Root's own group hands out to VMs; others need one that was delegated to them.
	if err := unix.Access(h.path("/sys/fs/cgroup/cgroup.subtree_control"), unix.W_OK); err != nil {
		f.Detail += "; its root is not yours to divide"
		f.State, f.Remedy = stateWarn, "for --mem-max and --cpu-max run as root, or under systemd-run --user --scope -p Delegate=yes"
	}
	return f
}

// tool is the finding about a program that only some commands need.
func tool(debianPackage, program, without string) finding {
	// A user's PATH often lacks the administrators' directories.
	for _, candidate := range []string{program, "/usr/sbin/" + program, "/sbin/" + program} {
		if path, err := exec.LookPath(candidate); err == nil {
			return finding{Name: program, State: stateOK, Detail: path}
		}
	}
	return finding{Name: program, State: stateWarn, Detail: "not found: " + without, Remedy: "apt install " + debianPackage}
}

func (h host) debootstrap() finding {
	return tool("debootstrap", "debootstrap", "clone rootfs create --distro debian cannot work")
}

func (h host) mke2fs() finding {
	return tool("e2fsprogs", "mke2fs", "clone rootfs create cannot work")
}
