package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// takeMemory maps so many MiB, and fill writes to each page of them.
func takeMemory(mib string) ([]byte, error) {
	n, err := strconv.Atoi(mib)
	if err != nil {
		return nil, err
	}
	return unix.Mmap(-1, 0, n<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
}

func fill(mem []byte, round int) {
	for i := 0; i < len(mem); i += pageBytes {
		mem[i] = byte(i>>12 + round)
	}
}

// eatMemory is the guest's program that takes so many MiB, and keeps them.
func eatMemory(args []string) error {
	mem, err := takeMemory(args[0])
	if err != nil {
		return err
	}
	fill(mem, 0)
	fmt.Println("full")
	return nil
}

// churnMemory is the guest's program that writes so many MiB anew, again and again.
func churnMemory(args []string) error {
	mem, err := takeMemory(args[0])
	if err != nil {
		return err
	}
	for round := 0; ; round++ {
		fill(mem, round)
		if round == 0 {
			fmt.Println("churning")
		}
	}
}

// limitHost is a host with the template "small", of a guest with 192 MiB.
func limitHost(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	vm := h.bootSmall(t, "--mem-mb", "192")
	h.ok(t, "snapshot", "--vm-id", vm, "--name", "small")
	h.ok(t, "destroy", "--force", vm)
	return h
}

// groupOf is where a VM's control group is.
func groupOf(id string) string { return "/sys/fs/cgroup/clone/clone-" + id }

// groups are the control groups of VMs.
func groups(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob(groupOf("*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A guest that takes more than its VM may have ends that VM, which is told; its siblings live.
func TestLimitOfMemory(t *testing.T) {
	h := limitHost(t)
	other := h.fork(t, "small", "--name", "other")
	hungry := h.fork(t, "small", "--name", "hungry", "--mem-max", "64M", "--cpu-max", "0.5")
	group := groupOf(hungry)
	for file, want := range map[string]string{"memory.max": "67108864", "memory.oom.group": "0", "cpu.max": "50000 100000", "pids.max": "1024"} {
		if b, err := os.ReadFile(filepath.Join(group, file)); strings.TrimSpace(string(b)) != want {
			t.Errorf("%s is %q, %v; want %s", file, b, err, want)
		}
	}
	s := parse[vmLine](t, h.ok(t, "status", "--json", hungry))
	if m := s.Memory; m.Kernel.Source != "cgroup" || m.Kernel.Bytes < 100<<10 || m.Kernel.Bytes > 16<<20 || m.Kernel.SecondaryPageTables == 0 {
		t.Errorf("the kernel's memory of a VM with a control group: %+v", m.Kernel)
	}
	t.Logf("limited fork: %+v", s.Memory)

	const why = "it reached its memory limit (--mem-max 64M), and the kernel killed it"
	r := h.run(limit, nil, "exec", "hungry", "--", "/guestprog", "eat", "100")
	if r.status != 125 || !strings.Contains(r.err, why) {
		t.Errorf("exec in a VM that reaches its limit: %+v", r)
	}
	h.fails(t, why, "status", "hungry")
	h.fails(t, why, "exec", hungry, "--", "true")
	if got := h.exec(t, other, "/guestprog", "eat", "100"); got != "full" {
		t.Errorf("the other VM says %q", got)
	}

	// In the foreground, and in one that ends as it should.
	k := h.talk(t, "fork", "--template", "small", "--name", "shown", "--mem-max", "64M")
	h.awaitReady(t, "shown")
	h.run(limit, nil, "exec", "shown", "--", "/guestprog", "eat", "100")
	k.ended(t, 6)
	if !strings.Contains(k.shown(), why) {
		t.Errorf("in the foreground: %s", k.shown())
	}
	k = h.talk(t, "fork", "--template", "small", "--name", "modest", "--mem-max", "150M")
	h.awaitReady(t, "modest")
	h.run(limit, nil, "exec", "modest", "--", "/guestprog", "poweroff")
	k.ended(t, 0)
	h.ok(t, "destroy", "--force", other)
	h.nothingLeft(t)
	if left := groups(t); len(left) != 0 {
		t.Errorf("control groups left behind: %q", left)
	}
}

// A snapshot needs a page more for each that the guest changes while it is written. Where the VM's limit leaves no room for
// them the guest stands still, and where there is none for the template itself, on a tmpfs, it is refused. The VM lives.
func TestSnapshotAtTheMemoryLimit(t *testing.T) {
	h := limitHost(t)
	vm := h.fork(t, "small", "--mem-max", "512M")
	churn := h.talk(t, "exec", vm, "--", "/guestprog", "churn", "40")
	churn.expect(t, "churning")
	group := groupOf(vm)
	leave := func(room int) {
		t.Helper()
		now, err := os.ReadFile(filepath.Join(group, "memory.current"))
		if err == nil {
			err = os.WriteFile(filepath.Join(group, "memory.max"), []byte(strconv.Itoa(number(t, string(now))+room)), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(h.dir, &st); err != nil {
		t.Fatal(err)
	}
	inMemory := st.Type == unix.TMPFS_MAGIC
	leave(10 << 20)
	if inMemory {
		h.fails(t, "leaves no room for it: keep templates on a disk", "snapshot", "--vm-id", vm, "--name", "large")
		h.onlyTemplates(t, "small")
		leave(110 << 20)
	}
	if r := h.snapshotJSON(t, vm, "large"); !strings.Contains(r.Note, "stood still") || r.PauseNanoseconds < r.TotalNanoseconds/4 {
		t.Errorf("%+v", r)
	}
	if got := h.exec(t, vm, "sh", "-c", "echo alive"); got != "alive" {
		t.Errorf("the VM says %q", got)
	}
	f := h.fork(t, "large")
	if got := h.exec(t, f, "sh", "-c", "echo alive"); got != "alive" {
		t.Errorf("its fork says %q", got)
	}
	h.ok(t, "destroy", "--force", f)
	leave(512 << 20)
	if r := h.snapshotJSON(t, vm, "roomy"); r.Note != "" || r.PauseNanoseconds > r.TotalNanoseconds/2 {
		t.Errorf("%+v", r)
	}
	// The last of its processes to go takes a moment.
	last := exec.Command("sleep", "1")
	if err := last.Start(); err != nil {
		t.Fatal(err)
	}
	defer last.Wait()
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(last.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	// Killed by somebody else, it has not reached its limit.
	if err := unix.Kill(h.infoOf(t, vm).PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	churn.ended(t, 125) // it too reaps what it finds dead
	h.allGone(t)
	if all := h.ok(t, "list", "--all"); strings.Contains(all, "limit") || !strings.Contains(all, "was killed or crashed") {
		t.Errorf("the record says:\n%s", all)
	}
	if left := groups(t); len(left) != 0 {
		t.Errorf("control groups left behind: %q", left)
	}
}

// What status says of forks adds up to what the host lost.
func TestLimitlessForksAreAccounted(t *testing.T) {
	const forks = 6
	h := limitHost(t)
	h.ok(t, "destroy", "--force", h.fork(t, "small")) // the template is in the page cache now
	before := settledMemory(t)
	for range forks {
		h.exec(t, h.fork(t, "small"), "/guestprog", "eat", "8")
	}
	await(t, "the monitors gave back what they do not need", func() bool {
		for _, vm := range parse[[]vmLine](t, h.ok(t, "list", "--json")) {
			if vm.Uptime < 3 {
				return false
			}
		}
		return true
	})
	o := parse[struct {
		VMs   []vmLine
		Total struct {
			VMs, Unshared, Configured int
			Memory                    memoryLine
		}
		Host struct{ Total, Available int }
	}](t, h.ok(t, "status", "--json"))
	during := settledMemory(t)
	h.ok(t, "destroy", "--all", "--force")
	// What an earlier VM left may be freed late, and so may what these leave: the greater one is nearer to the truth.
	dropped := max(before, settledMemory(t)) - during
	t.Logf("MemAvailable fell by %d KiB for each fork; status says %d KiB", dropped/forks>>10, o.Total.Memory.Cost/forks>>10)
	for _, vm := range o.VMs {
		m := vm.Memory
		t.Logf("%+v", m)
		if m.Guest.Mapped != 192<<20 || m.Guest.Resident < m.Guest.Private || m.Guest.Private < 8<<20 || m.Guest.Private > 64<<20 ||
			m.Guest.Shared == 0 || m.Monitor.Private == 0 || m.Monitor.Private > 5<<20 || m.PageTables == 0 || m.Kernel.Source != "estimate" {
			t.Errorf("a fork that ate 8 MiB: %+v", m)
		}
	}
	if o.Total.VMs != forks || o.Total.Configured != forks*192<<20 || o.Total.Unshared <= o.Total.Memory.Guest.Private ||
		o.Host.Total <= o.Host.Available {
		t.Errorf("the sum: %+v, %+v", o.Total, o.Host)
	}
	if ratio := float64(o.Total.Memory.Cost) / float64(dropped); ratio < 0.75 || ratio > 1.33 {
		t.Errorf("status says %.2f times of what the host lost", ratio)
	}
	if groups := groups(t); len(groups) != 0 {
		t.Errorf("control groups of VMs without limits: %q", groups)
	}
}

// settledMemory is the host's MemAvailable once it stands still: the kernel frees what a VM had for a while after its process
// has ended.
func settledMemory(t *testing.T) int {
	t.Helper()
	const still = 512 << 10 // bytes
	last, since := memAvailable(t), time.Now()
	await(t, "the host's memory stands still", func() bool {
		if now := memAvailable(t); now < last-still || now > last+still {
			last, since = now, time.Now()
		}
		return time.Since(since) > 5*time.Second
	})
	return memAvailable(t)
}

// memAvailable is the host's, in bytes.
func memAvailable(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "MemAvailable:")
	return number(t, strings.Fields(rest)[0]) << 10
}
