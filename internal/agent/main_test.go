package agent_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clone/internal/agent"
	"clone/internal/agentproto"
	"clone/internal/guest/agentd"
	"clone/internal/legacy"
)

// TestMain fails when a test left a goroutine behind: both ends promise that
// there is none after Close.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before && code == 0 {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines left behind:\n%s\n", n-before, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// machine is a System that changes nothing: its clock is the real one plus an
// offset, and its files are below a directory.
type machine struct {
	root   string
	offset atomic.Int64 // nanoseconds
	steps  atomic.Int32
	lag    time.Duration // each reading of the clock takes that long, in turns before and after
	reads  atomic.Int32
	clock  bool         // it has a device that shows the host's
	mapped atomic.Int32 // times that somebody wanted the device

	mu       sync.Mutex
	seeds    [][]byte
	hostname string
	bound    []string
	synced   int
	ended    []agentproto.Shutdown
}

func (m *machine) Realtime() int64 {
	late := m.reads.Add(1)%2 == 0
	if late {
		time.Sleep(m.lag)
	}
	now := time.Now().UnixNano() + m.offset.Load()
	if !late {
		time.Sleep(m.lag)
	}
	return now
}

// rawBehind is how far the guest's raw clock is behind the host's in these tests.
const rawBehind = 5 * time.Second

func (m *machine) Raw() int64 { return time.Now().Add(-rawBehind).UnixNano() }

// MapRegisters shows the host's clock, if the machine has it.
func (m *machine) MapRegisters(uint64) (agentd.Registers, error) {
	m.mapped.Add(1)
	if !m.clock {
		return nil, fs.ErrNotExist
	}
	return hostClock{legacy.NewHostClock(func() (int64, int64) { return time.Now().UnixNano(), time.Now().UnixNano() })}, nil
}

type hostClock struct{ *legacy.HostClock }

func (c hostClock) Uint64(offset int) uint64 {
	var b [8]byte
	c.Read(uint64(offset), b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func (hostClock) Close() error { return nil }

func (m *machine) StepRealtime(ns int64) error {
	m.offset.Add(ns)
	m.steps.Add(1)
	return nil
}

func (m *machine) AddEntropy(seed []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seeds = append(m.seeds, seed)
	return nil
}

func (m *machine) SetHostname(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hostname = name
	return nil
}

func (m *machine) LocalCID() (uint32, error) { return 0, fs.ErrNotExist }

func (m *machine) Path(name string) string { return filepath.Join(m.root, name) }

func (m *machine) BindMount(source, target string) error { return fs.ErrPermission }

func (m *machine) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced++
	return nil
}

func (m *machine) Shutdown(mode agentproto.ShutdownMode, force bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = append(m.ended, agentproto.Shutdown{Mode: mode, Force: force})
	return nil
}

func (m *machine) Bind(driver, device string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bound = append(m.bound, driver+" "+device)
	return nil
}

func (m *machine) Stats() (agentproto.StatsReply, error) { return agentd.Linux{}.Stats() }

// socket is a Unix socket as the agent's listener.
type socket struct{ net.Listener }

func (s socket) Accept() (io.ReadWriteCloser, error) { return s.Listener.Accept() }

// guest is an agent that serves on a Unix socket.
type guest struct {
	*machine
	path string
}

func startGuest(t testing.TB) *guest {
	t.Helper()
	dir := t.TempDir()
	g := &guest{machine: &machine{root: dir}, path: filepath.Join(dir, "agent.sock")}
	if err := os.MkdirAll(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", g.path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	s := &agentd.Server{System: g.machine}
	go func() {
		defer close(served)
		s.Serve(socket{l})
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
	})
	return g
}

func (g *guest) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", g.path)
}

func (g *guest) connect(t testing.TB) *agent.Client {
	t.Helper()
	c, err := agent.Dial(t.Context(), g.dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// connect returns a client of a fresh agent.
func connect(t testing.TB) *agent.Client {
	t.Helper()
	return startGuest(t).connect(t)
}
