package hosttest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCommand is one boot with much to look at.
func TestCommand(t *testing.T) {
	cache := newCache(t)
	elsewhere, untouched := t.TempDir(), filepath.Join(root, "bin", "written-in-a-test-host")
	script := `
echo to stdout; echo to stderr >&2; echo by name >/dev/stderr
pwd; echo "$GREETING"; cat
for f in kvm vhost-net vhost-vsock net/tun userfaultfd; do [ -c /dev/$f ] || echo "no /dev/$f"; done
[ -w /sys/kernel/mm/ksm/run ] || echo no KSM
ls /sys/kernel/iommu_groups | grep -q . || echo no IOMMU
[ "$(stat -f -c %T /tmp)" = tmpfs ] || echo /tmp is no tmpfs
unshare --user true || echo no user namespaces
echo kept >here; echo kept >` + elsewhere + `/there
{ echo lost >` + untouched + `; } 2>/dev/null # hidden, where this checkout is below /tmp
sleep 1000 &
exit 7`
	h := start(t, cache, "from stdin\n", "--stdin", "--env", "GREETING=it's a \"test\" $HOME", "--writable", elsewhere, "--", "sh", "-c", script)
	if got := h.wait(t); got != 7 {
		t.Errorf("exit status %d, want 7", got)
	}
	want := "to stdout\n" + h.dir + "\nit's a \"test\" $HOME\nfrom stdin\n"
	if got := h.stdout.String(); got != want {
		t.Errorf("stdout:\n%s\nwant:\n%s", got, want)
	}
	chosen, rest, _ := strings.Cut(h.stderr.String(), "\n")
	if !strings.HasPrefix(chosen, "testhost: running in an emulated host (") {
		t.Errorf("stderr begins with %q, not with where the command runs", chosen)
	}
	if rest != "to stderr\nby name\n" {
		t.Errorf("the command's stderr: %q", rest)
	}
	for _, name := range []string{filepath.Join(h.dir, "here"), filepath.Join(elsewhere, "there")} {
		if b, err := os.ReadFile(name); string(b) != "kept\n" {
			t.Errorf("%s: %q, %v: what is written below a writable directory must arrive", name, b, err)
		}
	}
	if _, err := os.Stat(untouched); err == nil {
		os.Remove(untouched)
		t.Errorf("%s was written: only writable directories may be", untouched)
	}
	if dirs := cache.runDirs(t); len(dirs) > 0 {
		t.Errorf("left behind: %s", dirs)
	}
}

// TestTwoAtOnce has two hosts alive at the same time, each printing much.
func TestTwoAtOnce(t *testing.T) {
	cache := newCache(t)
	const size = 3 << 20
	command := []string{"--", "sh", "-c", fmt.Sprintf("echo ready; while [ ! -e go ]; do sleep 0.1; done; head -c %d /dev/zero", size)}
	hosts := []*host{start(t, cache, "", command...), start(t, cache, "", command...)}
	for _, h := range hosts {
		h.waitFor(t, "ready\n")
	}
	want := sha256.Sum256([]byte("ready\n" + strings.Repeat("\x00", size)))
	for i, h := range hosts {
		if err := os.WriteFile(filepath.Join(h.dir, "go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := h.wait(t); got != 0 {
			t.Errorf("host %d: exit status %d: %s", i, got, h.stderr.String())
		}
		if out := h.stdout.String(); sha256.Sum256([]byte(out)) != want {
			t.Errorf("host %d: %d bytes of output differ from the %d written", i, len(out), len("ready\n")+size)
		}
	}
}

func TestTimeout(t *testing.T) {
	cache := newCache(t)
	h := start(t, cache, "", "--timeout", "15s", "--", "sh", "-c", "echo ready; sleep 1000")
	h.waitFor(t, "ready\n")
	children := h.children(t)
	if len(children) < 2 {
		t.Errorf("children %q, want QEMU and virtiofsd", children)
	}
	if got := h.wait(t); got != 124 {
		t.Errorf("exit status %d, want 124: %s", got, h.stderr.String())
	}
	if !strings.Contains(h.stderr.String(), "timed out after 15s") {
		t.Errorf("stderr: %s", h.stderr.String())
	}
	expectGone(t, children)
	if dirs := cache.runDirs(t); len(dirs) > 0 {
		t.Errorf("left behind: %s", dirs)
	}
}

// TestSignals ends testhost in ways that it can and cannot see.
func TestSignals(t *testing.T) {
	for _, test := range []struct {
		signal syscall.Signal
		exit   int // as exec reports it
		dirs   int // run directories left for the next run to reap
	}{
		{syscall.SIGINT, 130, 0},
		{syscall.SIGTERM, 130, 0},
		{syscall.SIGKILL, -1, 1},
	} {
		t.Run(test.signal.String(), func(t *testing.T) {
			cache := newCache(t)
			h := start(t, cache, "", "--", "sh", "-c", "echo ready; sleep 1000")
			h.waitFor(t, "ready\n")
			children := h.children(t)
			if err := h.cmd.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			if got := h.wait(t); got != test.exit {
				t.Errorf("exit status %d, want %d: %s", got, test.exit, h.stderr.String())
			}
			expectGone(t, children)
			if dirs := cache.runDirs(t); len(dirs) != test.dirs {
				t.Errorf("left behind: %s, want %d", dirs, test.dirs)
			}
			if test.dirs > 0 {
				start(t, cache, "", "--qemu-arg", "-no-such-option", "--", "true").wait(t)
				if dirs := cache.runDirs(t); len(dirs) > 0 {
					t.Errorf("the next run did not reap %s", dirs)
				}
			}
		})
	}
}

// TestHostFailure tells a failed host from a failed command.
func TestHostFailure(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string // in stderr
	}{
		"does not start": {[]string{"--qemu-arg", "-no-such-option", "--", "true"}, "no-such-option"},
		"panics":         {[]string{"--", "sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger"}, "Kernel panic"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := newCache(t)
			h := start(t, cache, "", test.args...)
			if got := h.wait(t); got != 125 {
				t.Errorf("exit status %d, want 125", got)
			}
			if !strings.Contains(h.stderr.String(), test.want) {
				t.Errorf("no %q in stderr: %s", test.want, h.stderr.String())
			}
			if dirs := cache.runDirs(t); len(dirs) > 0 {
				t.Errorf("left behind: %s", dirs)
			}
		})
	}
}
