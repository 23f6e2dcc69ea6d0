package hosttest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Boots take seconds; these only end what hangs.
const (
	bootDeadline = 2 * time.Minute
	endDeadline  = 20 * time.Second
)

// root is the project's directory, where bin/testhost is.
var root string

func TestMain(m *testing.M) {
	dir, err := os.Getwd()
	for err == nil && root == "" {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			root = dir
		} else if dir == "/" {
			err = statErr
		}
		dir = filepath.Dir(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hosttest: run it inside the project:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A testCache is a cache of its own with the user's kernels, so that what is left
// behind in it is this test's.
type testCache string

func newCache(t *testing.T) testCache {
	t.Helper()
	user := os.Getenv("CLONE_CACHE")
	if user == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		user = filepath.Join(home, ".cache", "clone")
	}
	dir := t.TempDir()
	if err := os.MkdirAll(user, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kernels", "host"} {
		if err := os.MkdirAll(filepath.Join(user, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(user, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return testCache(dir)
}

// runDirs are the run directories that exist now.
func (c testCache) runDirs(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(string(c), "run", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// A host is a running "testhost run --emulated".
type host struct {
	cmd            *exec.Cmd
	stdout, stderr lockedBuffer
	dir            string // its working directory
}

// start runs a command in an emulated host; args are flags, "--" and the command.
func start(t *testing.T, cache testCache, stdin string, args ...string) *host {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootDeadline)
	h := &host{dir: t.TempDir()}
	args = append([]string{"run", "--emulated", "--mem", "1024"}, args...)
	h.cmd = exec.CommandContext(ctx, filepath.Join(root, "bin", "testhost"), args...)
	h.cmd.Dir = h.dir
	h.cmd.Env = append(os.Environ(), "CLONE_CACHE="+string(cache))
	h.cmd.Stdin = strings.NewReader(stdin)
	h.cmd.Stdout, h.cmd.Stderr = &h.stdout, &h.stderr
	h.cmd.Cancel = func() error { return h.cmd.Process.Signal(syscall.SIGTERM) }
	if err := h.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		h.cmd.Wait()
	})
	return h
}

// wait returns the exit status.
func (h *host) wait(t *testing.T) int {
	t.Helper()
	h.cmd.Wait()
	return h.cmd.ProcessState.ExitCode()
}

// waitFor returns once the command has written text to its standard output.
func (h *host) waitFor(t *testing.T, text string) {
	t.Helper()
	eventually(t, bootDeadline, func() bool { return strings.Contains(h.stdout.String(), text) },
		func() string {
			return fmt.Sprintf("no %q in %q; stderr: %s", text, h.stdout.String(), h.stderr.String())
		})
}

// children are the ids of the processes that testhost started.
func (h *host) children(t *testing.T) []string {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		pids = append(pids, strings.Fields(string(b))...)
	}
	return pids
}

// expectGone fails unless all processes end.
func expectGone(t *testing.T, pids []string) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, endDeadline, func() bool { return !alive(pid) },
			func() string { return "process " + pid + " is still there" })
	}
}

// alive reports whether a process exists and is no zombie: a container's process 1
// may leave orphans unreaped.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func eventually(t *testing.T, within time.Duration, done func() bool, problem func() string) {
	t.Helper()
	for deadline := time.Now().Add(within); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(problem())
		}
	}
}

// A lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
