package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"clone/internal/agent"
	"clone/internal/agentproto"
	"clone/internal/control"
	"clone/internal/snapshot"
)

// startBackground starts a shell script in the guest that goes on after this command, whatever becomes of its connection.
func (h *host) startBackground(t *testing.T, vm, script string) {
	t.Helper()
	h.exec(t, vm, "sh", "-c", `setsid nohup sh -c "$0" </dev/null >/dev/null 2>&1 &`, script)
}

// startCounter starts a process in the guest that writes a growing number to a file in its RAM, again and again.
func (h *host) startCounter(t *testing.T, vm string) {
	t.Helper()
	// Bash waits on an empty pipe: a process started for each number would keep an emulated host busy with that alone.
	h.startBackground(t, vm, `mkfifo /run/nothing; exec bash -c 'n=0
		while :; do n=$((n+1)); echo $n >/run/counter; read -t 0.1 <>/run/nothing; done'`)
	h.awaitCount(t, vm, 1)
}

// awaitCount waits until the guest's counter has come to at least n, and returns where it is.
func (h *host) awaitCount(t *testing.T, vm string, n int) int {
	t.Helper()
	got := h.sh(t, vm, fmt.Sprintf(`for i in $(seq 600); do
		[ -e /run/counter ] && read -r n </run/counter; [ "${n:-0}" -ge %d ] && break; sleep 0.1; done; echo ${n:-0}`, n))
	count := number(t, got)
	if count < n {
		t.Fatalf("the counter in %s stands at %d, want %d: it does not go on", vm, count, n)
	}
	return count
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		t.Fatalf("%q is no number", s)
	}
	return n
}

// infoOf is what clone status says of a VM.
func (h *host) infoOf(t *testing.T, vm string) (info control.Info) {
	t.Helper()
	if err := json.Unmarshal([]byte(h.ok(t, "status", vm, "--json")), &info); err != nil {
		t.Fatal(err)
	}
	return info
}

// controlOf is a client of a VM's control socket, for what no command asks of it.
func (h *host) controlOf(vm string) *control.Client {
	return control.NewClient(filepath.Join(h.dir, "run", vm, "control.sock"))
}

// dialAgent connects to a VM's agent, as clone exec does.
func (h *host) dialAgent(t *testing.T, vm string) *agent.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	socket := filepath.Join(h.dir, "run", vm, "vsock.sock")
	c, err := agent.Dial(ctx, func(ctx context.Context) (net.Conn, error) {
		return agent.DialVsockUnix(ctx, socket, agentproto.Port)
	})
	if err != nil {
		t.Fatalf("VM %s: %v", vm, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// checkClock fails unless the guest's wall clock is that of this host to 10 ms for certain, by the guest's own comparison. That
// must not contradict what messages to it and back say, each of which tells between what the error lies, however long it took.
func (h *host) checkClock(t *testing.T, vm string) {
	t.Helper()
	c := h.dialAgent(t, vm)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const most = 10 * time.Millisecond
	m, ok, err := c.CompareClock(ctx)
	if err != nil || !ok {
		t.Fatalf("VM %s cannot compare its clock: %v", vm, err)
	}
	compared := agent.WallSpan(m)
	known := agent.UnknownSpan
	for n := 0; n < 30 && known.Bound() > most; n++ {
		m, err := c.MeasureClock(ctx)
		if err != nil {
			t.Fatalf("VM %s: %v", vm, err)
		}
		known = known.Narrow(m.Span())
	}
	t.Logf("VM %s: the wall clock is off by %v to %v, by messages %v to %v", vm, compared.Low, compared.High, known.Low, known.High)
	if compared.Bound() > most || known.Narrow(compared).Width() < 0 {
		t.Errorf("VM %s: the wall clock is off by %v to %v, by messages %v to %v, want at most %v",
			vm, compared.Low, compared.High, known.Low, known.High, most)
	}
}

// snapshot stores a VM under a name that is free again after the test.
func (h *host) snapshot(t *testing.T, vm, name string) {
	t.Helper()
	h.ok(t, "snapshot", "--vm-id", vm, "--name", name)
	t.Cleanup(func() { h.run(time.Minute, nil, "template", "rm", name) })
}

// checkTemplateClock fails unless a template knows its guest's clock closely. Where it does not, its forks have theirs set over
// vsock, and fail on a host too busy for that.
func (h *host) checkTemplateClock(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, "home", "templates", name, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct{ Clock *snapshot.Clock }
	if err := json.Unmarshal(b, &manifest); err != nil {
		t.Fatal(err)
	}
	if c := manifest.Clock; c == nil || c.BoundNS > time.Millisecond.Nanoseconds() {
		t.Errorf("template %s knows the guest's clock to %+v nanoseconds, want 1 ms", name, c)
	}
}

// echo is a `clone exec -- cat` that data goes through all the time.
type echo struct {
	cmd            *exec.Cmd
	stop           chan struct{}
	sender         sync.WaitGroup
	stderr         strings.Builder
	sendErr        error
	sent, received counted
}

// counted sums what is written to it, and tells how much that is.
type counted struct {
	mu       sync.Mutex
	sum      hash.Hash
	bytes    int
	progress chan struct{}
}

func (c *counted) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Write(p)
	c.bytes += len(p)
	select {
	case c.progress <- struct{}{}:
	default:
	}
	return len(p), nil
}

func newCounted() counted { return counted{sum: sha256.New(), progress: make(chan struct{}, 1)} }

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// startEcho starts sending: a little, many times a second.
func (h *host) startEcho(t *testing.T, vm string) *echo {
	t.Helper()
	e := &echo{stop: make(chan struct{}), sent: newCounted(), received: newCounted()}
	e.cmd = h.command(t.Context(), "exec", "--vm-id", vm, "--", "cat")
	e.cmd.Stdout, e.cmd.Stderr = &e.received, &e.stderr
	in, err := e.cmd.StdinPipe()
	if err == nil {
		err = e.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	e.sender.Go(func() {
		defer in.Close()
		e.sendErr = e.send(in)
	})
	e.awaitMore(t)
	return e
}

func (e *echo) send(w io.Writer) error {
	random := rand.NewChaCha8([32]byte{'e', 'c', 'h', 'o'})
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for block := make([]byte, 1000); ; {
		select {
		case <-e.stop:
			return nil
		case <-tick.C:
		}
		random.Read(block)
		if _, err := w.Write(block); err != nil {
			return err
		}
		e.sent.Write(block)
	}
}

// awaitMore waits until something has come back that was sent after now.
func (e *echo) awaitMore(t *testing.T) {
	t.Helper()
	sent := e.sent.count()
	limit := time.After(time.Minute)
	for e.received.count() <= sent {
		select {
		case <-e.received.progress:
		case <-limit:
			t.Fatalf("a command's stream stands still after %d bytes: %s", e.received.count(), e.stderr.String())
		}
	}
}

// finish ends the stream, of which nothing may be missing.
func (e *echo) finish(t *testing.T) {
	t.Helper()
	close(e.stop)
	e.sender.Wait()
	if err := e.cmd.Wait(); err != nil || e.sendErr != nil {
		t.Fatalf("the stream broke off: %v, sender: %v\n%s", err, e.sendErr, e.stderr.String())
	}
	if got, want := fmt.Sprintf("%x", e.received.sum.Sum(nil)), fmt.Sprintf("%x", e.sent.sum.Sum(nil)); got != want {
		t.Fatalf("%d bytes came back with sum %s, sent were some with sum %s", e.received.count(), got, want)
	}
}

// fileSums are the SHA-256 of the files in a directory.
func fileSums(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		out, err := exec.Command("sha256sum", filepath.Join(dir, e.Name())).Output()
		if err != nil {
			t.Fatal(err)
		}
		sums[e.Name()] = strings.Fields(string(out))[0]
	}
	return sums
}

// slowHost is the notice of a kernel whose timer interrupt was held up by its host: one that shares a processor with another
// vCPU, or faults pages in. It says nothing about the guest.
const slowHost = "hrtimer: interrupt took "

// kernelComplaints are the guest kernel's warnings and errors, without their times.
func (h *host) kernelComplaints(t *testing.T, vm string) map[string]bool {
	t.Helper()
	lines := map[string]bool{}
	for line := range strings.Lines(h.exec(t, vm, "dmesg", "--notime", "--level", "warn,err,crit,alert,emerg")) {
		if !strings.HasPrefix(line, slowHost) {
			lines[strings.TrimSpace(line)] = true
		}
	}
	return lines
}
