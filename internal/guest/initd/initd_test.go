package initd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const mountinfo = `21 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/lower
22 21 0:21 / /proc rw,nosuid shared:12 - proc proc rw
30 21 254:16 / /data rw,relatime shared:1 master:2 - ext4 /dev/vdb rw
31 30 254:32 / /data/with\040space\134 rw - xfs /dev/vdc rw
short line - x
32 21 0:5 / relative rw - ext4 /dev/vdd rw
`

func TestBlockMounts(t *testing.T) {
	want := []string{`/data/with space\`, "/data"}
	if got := blockMounts(mountinfo); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", `a\040b`: "a b", `\011\012\134`: "\t\n\\",
		`\04`: `\04`, `\999`: `\999`, `\777`: `\777`, `x\`: `x\`,
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzBlockMounts(f *testing.F) {
	f.Add(mountinfo)
	f.Add(`1 2 3:4 / /\057 rw - a /dev/b`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range blockMounts(text) {
			if !strings.HasPrefix(m, "/") {
				t.Errorf("mount point %q", m)
			}
		}
	})
}

func TestModuleName(t *testing.T) {
	for in, want := range map[string]string{"003-virtio_blk.ko": "virtio_blk", "x.ko": "x", "000-a-b.ko": "a-b"} {
		if got := moduleName(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestActiveConsole(t *testing.T) {
	for in, want := range map[string]string{"ttyS0\n": "/dev/ttyS0", "tty0 ttyS0\n": "/dev/ttyS0", "": "", "../sda\n": ""} {
		if got, ok := activeConsole(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, ok, want)
		}
	}
}

func TestShutdownSignal(t *testing.T) {
	for sig, want := range map[unix.Signal]int{
		unix.SIGTERM: unix.LINUX_REBOOT_CMD_RESTART, unix.SIGUSR2: unix.LINUX_REBOOT_CMD_POWER_OFF, unix.SIGPWR: unix.LINUX_REBOOT_CMD_POWER_OFF,
		unix.Signal(38): unix.LINUX_REBOOT_CMD_POWER_OFF, unix.SIGINT: unix.LINUX_REBOOT_CMD_RESTART,
		unix.Signal(39): unix.LINUX_REBOOT_CMD_RESTART,
	} {
		if how, ok := shutdownSignal(sig); !ok || how != want {
			t.Errorf("%v: %#x, %v", sig, how, ok)
		}
	}
	for _, sig := range []unix.Signal{unix.SIGCHLD, unix.SIGHUP, unix.SIGURG, unix.SIGPIPE} {
		if _, ok := shutdownSignal(sig); ok {
			t.Errorf("%v ends the machine", sig)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"HOME=/", "TERM=vt220"})
	if !slices.Contains(got, "TERM=vt220") || slices.Contains(got, "TERM=linux") || !slices.Contains(got, "PATH="+defaultPath) {
		t.Errorf("%q", got)
	}
}

func TestWaitForDiskSaysWhatIsThere(t *testing.T) {
	err := waitForDisk(filepath.Join(t.TempDir(), "vdz"), 20*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "did not appear in 20ms; disks present: ") {
		t.Errorf("error %v", err)
	}
	// A file of that name is no disk.
	file := filepath.Join(t.TempDir(), "vda")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if waitForDisk(file, 0) == nil {
		t.Error("took a plain file for the root disk")
	}
}

func TestCheckMountPoints(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"proc", "dev", "run"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(root, "sys")); err != nil {
		t.Fatal(err)
	}
	if err := checkMountPoints(root); err == nil || !strings.Contains(err.Error(), "no directory /sys:") {
		t.Errorf("a link passed for a mount point: %v", err)
	}
	_ = os.Remove(filepath.Join(root, "sys"))
	_ = os.Mkdir(filepath.Join(root, "sys"), 0o755)
	if err := checkMountPoints(root); err != nil {
		t.Error(err)
	}
}

// A lower layer without mount points, an odd root mode, and a file changed
// above: the lower one must not see any of it.
func TestStackOverlay(t *testing.T) {
	base := t.TempDir()
	lower, upper, target := base+"/lower", base+"/upper", base+"/target"
	for _, d := range []string{lower, upper, target} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// An overlay cannot be the upper layer of another: tests may run in one.
	if err := unix.Mount("tmpfs", upper, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(upper, 0)
	if err := os.WriteFile(lower+"/file", []byte("below"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(lower, 7, 8); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(lower, 0o1751); err != nil {
		t.Fatal(err)
	}
	if err := stackOverlay(lower, upper, target); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(target, 0)
	if err := checkMountPoints(target); err != nil {
		t.Error(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(target, &st); err != nil || st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o1751 {
		t.Errorf("root directory %d:%d %o, %v", st.Uid, st.Gid, st.Mode&0o7777, err)
	}
	if err := os.WriteFile(target+"/file", []byte("above"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(lower + "/file"); string(b) != "below" {
		t.Errorf("the lower layer was changed to %q", b)
	}
	if b, _ := os.ReadFile(target + "/file"); string(b) != "above" {
		t.Errorf("the overlay has %q", b)
	}
}

// Only files in RAM, on the very file system of the directory, are deleted.
func TestFreeInitrd(t *testing.T) {
	base := t.TempDir()
	ram := base + "/ram"
	if err := os.Mkdir(ram, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", ram, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(ram, 0)
	outside := base + "/outside"
	for _, f := range []string{outside, ram + "/a/b/f", ram + "/g", ram + "/mounted/keep"} {
		_ = os.MkdirAll(filepath.Dir(f), 0o755)
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(base, ram+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", ram+"/mounted", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(ram+"/mounted", 0)
	if err := os.WriteFile(ram+"/mounted/keep", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := unix.Open(ram, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	freeInitrd(dir)
	entries, _ := os.ReadDir(ram)
	if len(entries) != 1 || entries[0].Name() != "mounted" {
		t.Errorf("left: %v", entries)
	}
	for _, kept := range []string{ram + "/mounted/keep", outside} {
		if _, err := os.Stat(kept); err != nil {
			t.Errorf("deleted what is not the initrd's: %v", err)
		}
	}
}
