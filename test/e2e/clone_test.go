package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// host is one user's Clone: templates and running VMs of its own.
type host struct {
	dir string
}

// newHost gives a test a Clone of its own; VMs that still run at its end are ended.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{dir: t.TempDir()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("VMs at the end:\n%s", h.run(30*time.Second, nil, "list", "--all", "--json").out)
		}
		if r := h.run(time.Minute, nil, "destroy", "--all", "--force"); r.status != 0 {
			t.Logf("destroy --all: %+v", r)
		}
	})
	return h
}

func (h *host) env() []string {
	return append(os.Environ(), "CLONE_HOME="+filepath.Join(h.dir, "home"), "CLONE_RUNTIME_DIR="+filepath.Join(h.dir, "run"))
}

// result is how a command ended.
type result struct {
	out, err string
	status   int
	took     time.Duration
}

// command prepares a clone command of this host.
func (h *host) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cloneBin, args...)
	cmd.Env = h.env()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// run runs a command to its end.
func (h *host) run(limit time.Duration, stdin []byte, args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := h.command(ctx, args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	began := time.Now()
	runErr := cmd.Run()
	r := result{out: out.String(), err: err.String(), took: time.Since(began)}
	var exit *exec.ExitError
	switch {
	case errors.As(runErr, &exit):
		r.status = exit.ExitCode()
	case runErr != nil:
		r.status, r.err = -1, r.err+runErr.Error()
	}
	return r
}

// ok runs a command that must succeed, and returns its standard output without the last newline.
func (h *host) ok(t *testing.T, args ...string) string {
	t.Helper()
	r := h.run(3*time.Minute, nil, args...)
	if r.status != 0 {
		t.Fatalf("clone %s: status %d after %v\n%s%s", strings.Join(args, " "), r.status, r.took, r.out, r.err)
	}
	return strings.TrimSuffix(r.out, "\n")
}

// fails runs a command that must fail with a message that contains want, on one line that begins with "clone: ".
func (h *host) fails(t *testing.T, want string, args ...string) {
	t.Helper()
	r := h.run(3*time.Minute, nil, args...)
	lines := strings.Split(strings.TrimSuffix(r.err, "\n"), "\n")
	last := lines[len(lines)-1]
	if r.status <= 0 || !strings.HasPrefix(last, "clone: ") || !strings.Contains(last, want) {
		t.Errorf("clone %s: status %d, want a failure that says %q\n%s%s", strings.Join(args, " "), r.status, want, r.out, r.err)
	}
}

// exec runs a command in a VM, which must succeed, and returns its output.
func (h *host) exec(t *testing.T, vm string, args ...string) string {
	t.Helper()
	return h.ok(t, append([]string{"exec", "--vm-id", vm, "--"}, args...)...)
}

// sh runs a shell script in a VM.
func (h *host) sh(t *testing.T, vm, script string) string {
	t.Helper()
	return h.exec(t, vm, "sh", "-c", script)
}

// boot boots Debian with an overlay and returns the VM's id.
func (h *host) boot(t *testing.T, flags ...string) string {
	t.Helper()
	return h.ok(t, append([]string{"run", "--kernel", kernel("6.12"), "--rootfs", image, "--overlay", "--detach"}, flags...)...)
}

// fork forks a template and returns the VM's id.
func (h *host) fork(t *testing.T, template string, flags ...string) string {
	t.Helper()
	return h.ok(t, append([]string{"fork", "--template", template, "--detach"}, flags...)...)
}

// awaitSystemd waits until the guest's own start-up is over.
func (h *host) awaitSystemd(t *testing.T, vm string) {
	t.Helper()
	// Right after the boot there is no systemd to ask yet: --wait would not wait for that.
	r := h.run(3*time.Minute, nil, "exec", "--vm-id", vm, "--", "sh", "-c", `for i in $(seq 600); do
		state=$(systemctl is-system-running 2>/dev/null)
		case "$state" in running|degraded|maintenance) break; esac
		sleep 0.2
	done; echo $state`)
	if state := strings.TrimSpace(r.out); state != "running" {
		t.Fatalf("systemd is %q: %s\n%s", state, r.err, h.run(time.Minute, nil, "exec", "--vm-id", vm, "--", "systemctl", "--failed").out)
	}
}

// fixture is a template that several tests fork: one 2-vCPU Debian, booted once.
type fixture struct {
	once sync.Once
	home *host
}

var debian fixture

// forkHost returns a host that has the template "base". The template is shared, the running VMs are the test's own.
func forkHost(t *testing.T) *host {
	t.Helper()
	debian.once.Do(func() {
		h := &host{dir: filepath.Join(shared, "debian")}
		vm := h.boot(t, "--vcpus", "2", "--mem-mb", "256")
		h.awaitSystemd(t, vm)
		h.ok(t, "snapshot", "--vm-id", vm, "--name", "base", "--settle=2m")
		h.ok(t, "destroy", "--force", vm)
		debian.home = h
	})
	if debian.home == nil {
		t.Fatal("the template could not be made; see the first test that needed it")
	}
	h := newHost(t)
	if err := os.MkdirAll(filepath.Join(h.dir, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The store is the fixture's: a template never changes.
	if err := os.Symlink(filepath.Join(debian.home.dir, "home", "templates"), filepath.Join(h.dir, "home", "templates")); err != nil {
		t.Fatal(err)
	}
	return h
}
