package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

func TestDebianBoots(t *testing.T) {
	h, vm := standingVM(t) // which waits until systemd says that all of it runs
	if release := h.exec(t, vm, "uname", "-r"); !strings.HasPrefix(release, "6.12.") {
		t.Errorf("kernel %s", release)
	}
	if root := h.sh(t, vm, "findmnt -n -o FSTYPE /"); root != "overlay" {
		t.Errorf("the root file system is %s", root)
	}
	// What boots in a VM of ours does not complain about the machine.
	// What systemd says there is its own affair; that there is no PCI bus is so.
	if said := h.sh(t, vm, `dmesg -l emerg,alert,crit,err | grep -v -e ' systemd\[' -e 'PCI: Fatal: No config space' || true`); said != "" {
		t.Errorf("the kernel complains:\n%s", said)
	}
	// What clone rootfs create wrote, so that an idle VM sleeps, has reached the kernel and systemd.
	quiet := h.sh(t, vm, "cd /proc/sys; cat vm/compaction_proactiveness vm/stat_interval kernel/watchdog; "+
		"for s in journald udevd logind; do systemctl show --value -p WatchdogUSec systemd-$s; done")
	if got := strings.Fields(quiet); !slices.Equal(got, strings.Fields("0 10 0 0 0 0")) {
		t.Errorf("an idle guest is kept awake: %q", got)
	}
}

func TestKernel61SeesItsFlags(t *testing.T) {
	h := newHost(t)
	vm := h.ok(t, "run", "--kernel", kernel("6.1"), "--rootfs", image, "--overlay", "--detach",
		"--vcpus", "4", "--mem-mb", "300", "--cmdline", `clone.test="two words"`, "--hostname", "four")
	h.awaitSystemd(t, vm)
	h.checkSize(t, vm, "6.1.", 4, 300)
	if cmdline := h.exec(t, vm, "cat", "/proc/cmdline"); !strings.Contains(cmdline, ` clone.test="two words"`) {
		t.Errorf("/proc/cmdline is %s", cmdline)
	}
	if name := h.exec(t, vm, "hostname"); name != "four" {
		t.Errorf("hostname %s", name)
	}
}

// checkSize compares the guest's kernel, processors and RAM with what was asked for.
func (h *host) checkSize(t *testing.T, vm, release string, vcpus, memoryMiB int) {
	t.Helper()
	got := strings.Fields(h.sh(t, vm, "uname -r; nproc; sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"))
	if len(got) != 3 || !strings.HasPrefix(got[0], release) || got[1] != strconv.Itoa(vcpus) {
		t.Fatalf("the guest has %q, want kernel %s, %d processors", got, release, vcpus)
	}
	// The kernel keeps some for itself.
	if kib, err := strconv.Atoi(got[2]); err != nil || kib > memoryMiB<<10 || kib < memoryMiB<<10*3/4 {
		t.Errorf("the guest has %s KiB of RAM, want a little less than %d MiB", got[2], memoryMiB)
	}
}

// An uncompressed kernel is what a bzImage has inside.
func TestVmlinuxBoots(t *testing.T) {
	bz, err := os.ReadFile(kernel("6.12"))
	if err != nil {
		t.Fatal(err)
	}
	// Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length. The payload ends in its own length.
	start := (int(bz[0x1f1])+1)*512 + int(binary.LittleEndian.Uint32(bz[0x248:]))
	payload := bz[start:][:binary.LittleEndian.Uint32(bz[0x24c:])-4]
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	elf, err := decoder.DecodeAll(payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	vmlinux := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(vmlinux, elf, 0o600); err != nil {
		t.Fatal(err)
	}
	img, err := smallImage()
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t)
	vm := h.ok(t, "run", "--kernel", vmlinux, "--modules", filepath.Dir(kernel("6.12")), "--rootfs", img, "--overlay",
		"--mem-mb", "128", "--vcpus", "2", "--detach")
	if got := h.sh(t, vm, "read a b version rest < /proc/version; echo $version"); !strings.HasPrefix(got, "6.12.") {
		t.Errorf("kernel %s", got)
	}
}

func TestOwnInitrdBoots(t *testing.T) {
	h := newHost(t)
	initrd := ownInitrd(t)
	sum := fileSum(t, initrd)
	h.fails(t, sum, "run", "--kernel", kernel("6.12"), "--initrd", initrd, "--initrd-sha256", strings.Repeat("0", 64))
	k := h.talk(t, "run", "--kernel", kernel("6.12"), "--initrd", initrd, "--initrd-sha256", sum, "--mem-mb", "128", "--name", "own")
	k.expect(t, "guestprog is init")
	if r := h.run(limit, nil, "exec", "--wait", "500ms", "--", "true"); r.status != 125 || !strings.Contains(r.err, "agent") {
		t.Errorf("exec in a guest without an agent: %+v", r)
	}
	k.enter(t, "some words\n")
	k.expect(t, "typed: some words")
	k.ended(t, 0)
	h.nothingLeft(t)
}

// An image with nothing but a shell gives that shell.
func TestShellOnConsole(t *testing.T) {
	h := newHost(t)
	k := h.talk(t, small(t)...)
	k.expect(t, "# ")
	k.enter(t, "echo $((6*7)) on $$; cd /proc/self\n")
	k.expect(t, "42 on ")
	k.enter(t, "exit\n")
	k.ended(t, 0)
	h.nothingLeft(t)
}

func TestMeasuredBoot(t *testing.T) {
	h := newHost(t)
	sum := fileSum(t, kernel("6.12"))
	wrong := strings.Repeat("ab", 32)
	r := h.run(limit, nil, small(t, "--kernel-sha256", wrong)...)
	if r.status != 1 || !strings.Contains(r.err, sum) || !strings.Contains(r.err, wrong) {
		t.Errorf("another kernel than asked for: %+v", r)
	}
	h.fails(t, "64 hexadecimal digits", small(t, "--kernel-sha256", "abc")...)
	h.nothingLeft(t)
	vm := h.bootSmall(t, "--kernel-sha256", strings.ToUpper(sum))
	h.sh(t, vm, ":")
}

// What a guest writes to its root stays, and the file system is clean after every orderly end.
func TestRootIsWritten(t *testing.T) {
	h := newHost(t)
	img := filepath.Join(t.TempDir(), "root.ext4")
	if out, err := exec.Command("cp", "--sparse=always", image, img).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	clean := func(after string) {
		t.Helper()
		if out, err := exec.Command("e2fsck", "-fn", img).CombinedOutput(); err != nil {
			t.Errorf("after %s: %v\n%s", after, err, out)
		}
	}
	run := []string{"run", "--kernel", kernel("6.12"), "--mem-mb", "256", "--rootfs"}

	k := h.talk(t, append(run, img, "--name", "writer")...)
	h.awaitReady(t, "writer")
	h.awaitSystemd(t, "writer")
	h.sh(t, "writer", "echo first > /root/first && dd if=/dev/urandom of=/root/noise bs=1M count=2 2>&1 && sha256sum < /root/noise > /root/sum")
	h.fails(t, "in use", small(t, "--block", img+",ro")...)
	h.sh(t, "writer", "systemctl poweroff")
	k.ended(t, 0)
	clean("poweroff")

	k = h.talk(t, append(run, img, "--name", "again")...)
	h.awaitReady(t, "again")
	if got := h.sh(t, "again", "cat /root/first && sha256sum < /root/noise | cmp - /root/sum && echo second > /root/second"); got != "first" {
		t.Errorf("the second boot finds %q", got)
	}
	h.awaitSystemd(t, "again")
	if r := h.run(limit, nil, "destroy", "--timeout", "2m"); r.status != 0 || r.err != "" {
		t.Errorf("destroy of a guest that shuts down: %+v", r)
	}
	k.ended(t, 0)
	clean("destroy")

	k = h.talk(t, append(run, img+",ro", "--name", "reader")...)
	h.awaitReady(t, "reader")
	before := statOf(t, img).ModTime()
	if got := h.sh(t, "reader", "cat /root/second; touch /root/third 2>&1 || true"); !strings.HasPrefix(got, "second\n") || !strings.Contains(got, "Read-only file system") {
		t.Errorf("the read-only root: %q", got)
	}
	h.run(limit, nil, "exec", "--vm-id", "reader", "--", "systemctl", "reboot", "--force", "--force") // systemd may not be up yet
	k.ended(t, 3)
	if !statOf(t, img).ModTime().Equal(before) {
		t.Error("a read-only image was written")
	}
	clean("a read-only boot")
	h.nothingLeft(t)
}

// Many VMs boot from one image; each sees its own writes only, and the image stays as it is.
func TestOneBaseForMany(t *testing.T) {
	h := newHost(t)
	img, err := smallImage()
	if err != nil {
		t.Fatal(err)
	}
	before, stat := fileSum(t, img), statOf(t, img)
	var vms []string
	for i := range 3 {
		vm := h.bootSmall(t)
		h.sh(t, vm, fmt.Sprintf("echo %d > /bin/mark", i))
		vms = append(vms, vm)
	}
	h.fails(t, "in use", "run", "--kernel", kernel("6.12"), "--rootfs", img) // to be written, while others read it
	for i, vm := range vms {
		if got := h.sh(t, vm, "read m < /bin/mark; echo $m"); got != strconv.Itoa(i) {
			t.Errorf("VM %d reads %q", i, got)
		}
	}
	h.ok(t, "destroy", "--all")
	if now := statOf(t, img); fileSum(t, img) != before || !now.ModTime().Equal(stat.ModTime()) {
		t.Error("the image was changed")
	}
}

// awaitReady waits until the guest's agent answers.
func (h *host) awaitReady(t *testing.T, vm string) {
	t.Helper()
	await(t, vm+" is there", func() bool { return h.run(limit, nil, "status", vm).status == 0 })
	h.ok(t, "exec", "--wait", "2m", "--vm-id", vm, "--", "sh", "-c", ":")
}

// nothingLeft checks that no VM of the host has left a trace in the run-time directory.
func (h *host) nothingLeft(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"", "names"} {
		entries, err := os.ReadDir(filepath.Join(h.dir, "run", dir))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "lock" && e.Name() != "names" && e.Name() != "ended" {
				t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
			}
		}
	}
}

func statOf(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// fileSum is the SHA-256 of a file, in hexadecimal.
func fileSum(t *testing.T, path string) string {
	t.Helper()
	sum := sha256.New()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteTo(sum); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// sameBytes checks that a file has exactly this content.
func sameBytes(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has other content than it should", path)
	}
}

// within runs f and checks that it took no longer.
func within(t *testing.T, what string, most time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > most {
		t.Errorf("%s took %v, want at most %v", what, took, most)
	}
}
