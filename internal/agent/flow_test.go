package agent_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"clone/internal/agent"
)

// readPid reads the number that a command printed, and drops the rest.
func readPid(t testing.TB, r io.ReadCloser) int {
	t.Helper()
	buf := make([]byte, 32)
	n, err := r.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// waitGone waits until no process has this id.
func waitGone(t testing.TB, pid int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is still there", pid)
		}
		runtime.Gosched()
	}
}

// stuck is a writer that never takes anything.
type stuck struct{ ctx context.Context }

func (s stuck) Write([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// TestSlowReader: fifty commands at once, and the output of another that prints
// for ever, which nobody reads.
func TestSlowReader(t *testing.T) {
	c := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	noisy, err := c.Exec(ctx, agent.Command{Args: []string{"yes"}, Stdout: stuck{ctx}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			cmd := sh(fmt.Sprintf("cat; head -c 300000 /dev/zero | tr '\\0' x; exit %d", i))
			cmd.Stdin = strings.NewReader("in")
			out, _, status := run(t, c, cmd)
			if len(out) != 300002 || status != i {
				t.Errorf("command %d: %d bytes, status %d", i, len(out), status)
			}
		})
	}
	all.Wait()
	if err := c.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	if _, err := noisy.Wait(); err == nil {
		t.Error("a command that was given up has no error")
	}
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// TestMuchOutput: 200 MB pass through in bounded memory. Client and agent are
// both in this process.
func TestMuchOutput(t *testing.T) {
	c := connect(t)
	before := peakRSS(t)
	var n counter
	p, err := c.Exec(t.Context(), agent.Command{Args: []string{"head", "-c", "200000000", "/dev/zero"}, Stdout: &n})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := p.Wait(); status != 0 || err != nil || n.n != 200000000 {
		t.Fatalf("%d bytes, status %d, %v", n.n, status, err)
	}
	if grown := peakRSS(t) - before; grown > 32<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

// peakRSS is VmHWM of this process, in bytes.
func peakRSS(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	field, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kb, err := strconv.Atoi(field)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
