package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// self is what a guest says of itself in one command.
type self struct {
	values map[string]string
	at     time.Time // when it was asked, at the latest
}

// askSelf is the script, with few processes: each costs an emulated host a tenth of a second. Monotonic time is the
// kernel's own, in nanoseconds.
const askSelf = `
from() { read -r line <$2; echo "$1=$line"; }
echo random=$(od -An -v -tx1 -w64 -N64 /dev/urandom)
from hostname /proc/sys/kernel/hostname
from hostnamefile /etc/hostname
from machineid /etc/machine-id
from vmid /run/clone/vm-id
line=; until [ "$line" ]; do from counter /run/counter; done
while read -r now at ns unit; do [ "$now" = now ] && echo monotonic=$ns && break; done </proc/timer_list
echo reseeds=$(dmesg | grep -c 'crng reseeded due to virtual machine fork')
`

func (h *host) askSelf(t *testing.T, vm string) self {
	t.Helper()
	s := self{values: map[string]string{}, at: time.Now()}
	for line := range strings.Lines(h.sh(t, vm, askSelf)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		s.values[key] = value
	}
	for _, key := range []string{"random", "hostname", "hostnamefile", "machineid", "vmid", "counter", "monotonic", "reseeds"} {
		if s.values[key] == "" {
			t.Fatalf("VM %s does not know its %s", vm, key)
		}
	}
	return s
}

func (s self) number(t *testing.T, key string) int { return number(t, s.values[key]) }

// TestForksAreLiveAndSeparate is the promise of Clone: every fork answers, as a machine of its own, in the present.
//
// It fails without a new generation identifier or its interrupt (reseeds), without the agent's identity message
// (hostname, machine-id, VM id, clock), with the template's kvmclock or TSC not restored (monotonic).
func TestForksAreLiveAndSeparate(t *testing.T) {
	h := forkHost(t)
	source := h.fork(t, "base")
	h.startCounter(t, source)
	h.sh(t, source, "date -s @$(($(date +%s) - 3600))") // the template is an hour old
	old := h.askSelf(t, source)
	h.snapshot(t, source, "hour")

	forks := []string{source}
	for range 4 {
		id := h.fork(t, "hour")
		h.checkClock(t, id) // first of all: nothing but the fork itself may have put it right
		forks = append(forks, id)
	}
	if got, want := strings.Fields(h.ok(t, "list")), len(forks); strings.Count(strings.Join(got, " "), "running") != want {
		t.Errorf("not all of %d VMs run: %v", want, got)
	}
	seen := map[string]string{} // "key value" → the fork that has it
	unique := func(vm, key, value string) {
		if other := seen[key+" "+value]; other != "" {
			t.Errorf("%s and %s both have %s %s", other, vm, key, value)
		}
		seen[key+" "+value] = vm
	}
	for _, vm := range forks {
		now := h.askSelf(t, vm)
		elapsed := time.Since(old.at)
		info := h.infoOf(t, vm)
		for _, key := range []string{"hostname", "machineid", "vmid"} {
			unique(vm, key, now.values[key])
		}
		random := now.values["random"]
		for ; len(random) >= 24; random = random[24:] {
			unique(vm, "random", random[:24]) // 8 bytes
		}
		unique(vm, "cid", strconv.Itoa(int(info.CID)))
		if info.UUID != now.values["vmid"] {
			t.Errorf("VM %s has UUID %s here and %s in the guest", vm, info.UUID, now.values["vmid"])
		}
		if now.values["hostname"] != now.values["hostnamefile"] {
			t.Errorf("VM %s is %s now and will be %s after a reboot", vm, now.values["hostname"], now.values["hostnamefile"])
		}
		wantReseeds := old.number(t, "reseeds")
		if vm != source {
			wantReseeds++
		}
		if n := now.number(t, "reseeds"); n != wantReseeds {
			t.Errorf("the kernel of %s was told of %d forks, want %d", vm, n, wantReseeds)
		}
		was, is := old.number(t, "monotonic"), now.number(t, "monotonic")
		if is < was || time.Duration(is-was) > elapsed {
			t.Errorf("monotonic time of %s went by %v in at most %v", vm, time.Duration(is-was), elapsed)
		}
		if n := now.number(t, "counter"); n < old.number(t, "counter") {
			t.Errorf("the counter of %s went back from %s to %d", vm, old.values["counter"], n)
		}
		h.awaitCount(t, vm, now.number(t, "counter")+2)
	}
	// Seconds after the fork the clocks are still right: they run at the right speed.
	for _, vm := range forks[1:] {
		h.checkClock(t, vm)
	}
}

// TestForksDoNotSeeEachOther writes over memory that came from the template in one fork. It fails when the template is
// mapped shared.
func TestForksDoNotSeeEachOther(t *testing.T) {
	h := forkHost(t)
	source := h.fork(t, "base")
	const size = 8 // MiB, of the guest's 256
	fill := func(vm, text string) {
		h.sh(t, vm, fmt.Sprintf("yes %s | dd of=/dev/shm/pages bs=1M count=%d iflag=fullblock conv=notrunc status=none", text, size))
	}
	sum := func(vm string) string { return h.sh(t, vm, "sha256sum </dev/shm/pages; stat -c %s /dev/shm/pages") }
	fill(source, "template")
	whole := sum(source)
	h.snapshot(t, source, "pages")
	dir := filepath.Join(h.dir, "home", "templates", "pages")
	files := fileSums(t, dir)

	toucher, sibling := h.fork(t, "pages"), h.fork(t, "pages")
	fill(toucher, "touched!")
	h.sh(t, toucher, "echo secret >/dev/shm/secret; sync")
	if got := sum(toucher); got == whole {
		t.Fatal("the touching fork does not see its own pages")
	}
	later := h.fork(t, "pages")
	for _, vm := range []string{source, sibling, later} {
		if got := sum(vm); got != whole {
			t.Errorf("VM %s sees pages that are not its own: %s, want %s", vm, got, whole)
		}
		if got := h.exec(t, vm, "ls", "/dev/shm"); got != "pages" {
			t.Errorf("VM %s has in its memory %q", vm, got)
		}
	}
	if now := fileSums(t, dir); !maps.Equal(now, files) {
		t.Errorf("the template's files were %v and are %v", files, now)
	}
	if got := h.ok(t, "template", "verify", "pages"); got != "template pages is whole" {
		t.Errorf("verify: %s", got)
	}
}

// TestKernel61ForksAndAnswers is for kernels without a driver for the generation identifier: there the agent's entropy is
// all that keeps siblings apart.
func TestKernel61ForksAndAnswers(t *testing.T) {
	h := newHost(t)
	vm := h.ok(t, "run", "--kernel", kernel("6.1"), "--rootfs", image, "--overlay", "--detach", "--mem-mb", "192")
	if got := h.exec(t, vm, "uname", "-r"); !strings.HasPrefix(got, "6.1.") {
		t.Fatalf("the kernel is %s", got)
	}
	h.startCounter(t, vm)
	h.sh(t, vm, "date -s @$(($(date +%s) - 3600))")
	h.snapshot(t, vm, "old")
	count := h.awaitCount(t, vm, 1)
	h.ok(t, "destroy", "--force", vm)

	seen := map[string]bool{}
	for range 3 {
		fork := h.fork(t, "old")
		h.checkClock(t, fork)
		now := h.sh(t, fork, "od -An -v -tx1 -N64 /dev/urandom; hostname; cat /etc/machine-id /run/clone/vm-id")
		for line := range strings.Lines(now) {
			if seen[line] {
				t.Errorf("two forks have %s", line)
			}
			seen[line] = true
		}
		h.awaitCount(t, fork, count+2)
	}
}

// TestForkWithAnotherDisk gives forks disks that their template did not have.
func TestForkWithAnotherDisk(t *testing.T) {
	h := forkHost(t)
	writable, readOnly := filepath.Join(h.dir, "writable.img"), filepath.Join(h.dir, "readonly.img")
	const size = 1 << 20
	for path, text := range map[string]string{writable: "writable\n", readOnly: "readonly\n"} {
		if err := os.WriteFile(path, []byte(strings.Repeat(text, size/len(text)+1)[:size]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := fileSums(t, h.dir)
	vm := h.fork(t, "base", "--block", writable, "--block", readOnly+",ro")
	for disk, path := range map[string]string{"/dev/vdb": writable, "/dev/vdc": readOnly} {
		if got := h.exec(t, vm, "sha256sum", disk); strings.Fields(got)[0] != want[filepath.Base(path)] {
			t.Errorf("%s in the fork is %s, want the content of %s", disk, got, path)
		}
	}
	h.sh(t, vm, "yes fork | dd of=/dev/vdb bs=64K seek=2 count=1 iflag=fullblock oflag=direct status=none")
	if r := h.run(time.Minute, nil, "exec", "--vm-id", vm, "--", "dd", "if=/dev/zero", "of=/dev/vdc", "bs=4K", "count=1"); r.status == 0 {
		t.Error("the read-only disk was written")
	}
	// A writable image is one VM's alone, and neither it nor its VM can become part of a template.
	h.fails(t, "writable.img", "fork", "--template", "base", "--block", writable, "--detach")
	h.fails(t, "the guest can write disk "+writable, "snapshot", "--vm-id", vm, "--name", "disks")
	h.ok(t, "destroy", vm)

	content, err := os.ReadFile(writable)
	if err != nil {
		t.Fatal(err)
	}
	written := strings.Repeat("fork\n", 64<<10/5+1)[:64<<10]
	original := strings.Repeat("writable\n", size/9+1)[:size]
	if wanted := original[:128<<10] + written + original[192<<10:]; string(content) != wanted {
		t.Error("the image does not have what the guest wrote, or not only that")
	}
	if got := fileSums(t, h.dir)["readonly.img"]; got != want["readonly.img"] {
		t.Error("the read-only image was changed")
	}

	// Read-only disks stay with the template of a fork that had them.
	vm = h.fork(t, "base", "--block", readOnly+",ro")
	h.snapshot(t, vm, "with-disk")
	h.ok(t, "destroy", "--force", vm)
	vm = h.fork(t, "with-disk", "--block", writable)
	for disk, sum := range map[string]string{"/dev/vdb": want["readonly.img"], "/dev/vdc": fileSums(t, h.dir)["writable.img"]} {
		if got := h.exec(t, vm, "sha256sum", disk); strings.Fields(got)[0] != sum {
			t.Errorf("%s in the fork of the fork is %s", disk, got)
		}
	}
}
