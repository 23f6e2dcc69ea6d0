package vsock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve gives a machine its public socket and returns the path.
func serve(t testing.TB, d *Device) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "v.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- d.Serve(l) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

// connect is a client of the public socket.
func connect(t *testing.T, path string, port uint32) (*net.UnixConn, *bufio.Reader, error) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "CONNECT %d\n", port)
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "OK ") {
		err = fmt.Errorf("answer %q", line)
	}
	return c.(*net.UnixConn), r, err
}

func dial(t testing.TB, g *guest, port uint32) *net.UnixConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := g.m.dev.Dial(ctx, port)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(60 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c.(*net.UnixConn)
}

// hostListen is a host service guests can connect to on a port.
func hostListen(t *testing.T, base string, port uint32) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", fmt.Sprintf("%s_%d", base, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestHostConnects(t *testing.T) {
	g := boot(t, Config{})
	accepted := g.Listen(1024)
	c, r, err := connect(t, serve(t, g.m.dev), 1024)
	if err != nil {
		t.Fatal(err)
	}
	s := <-accepted
	go io.Copy(s, s)
	fmt.Fprintf(c, "hello\n")
	if line, err := r.ReadString('\n'); line != "hello\n" || err != nil {
		t.Fatalf("echo %q, %v", line, err)
	}
	c.Close()
	s.g.until("end", func() bool { return s.peerShut == shutBoth })
}

func TestDataRightAfterConnectLine(t *testing.T) {
	g := boot(t, Config{})
	accepted := g.Listen(7)
	c, err := net.Dial("unix", serve(t, g.m.dev))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "CONNECT 7\nearly data")
	s := <-accepted
	p := make([]byte, 10)
	if _, err := io.ReadFull(s, p); err != nil || string(p) != "early data" {
		t.Fatalf("%q, %v", p, err)
	}
}

func TestGuestRefuses(t *testing.T) {
	g := boot(t, Config{})
	if _, _, err := connect(t, serve(t, g.m.dev), 1); err != io.EOF {
		t.Errorf("client of a port nobody listens on: %v, want EOF", err)
	}
	if c, err := g.m.dev.Dial(t.Context(), 1); !errors.Is(err, ErrRefused) {
		t.Errorf("Dial: %v, %v", c, err)
	}
}

func TestBadConnectLines(t *testing.T) {
	g := boot(t, Config{})
	path := serve(t, g.m.dev)
	for _, line := range []string{"\n", "HELLO\n", "CONNECT\n", "CONNECT x\n", "CONNECT 4294967296\n", "CONNECT -1\n",
		"CONNECT 1 2\n", strings.Repeat("C", 100), "CONNECT 000000000000000000000000000000001\n"} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, line)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if n, err := c.Read(make([]byte, 10)); n != 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q was answered with %d bytes, %v", line, n, err)
		}
		c.Close()
	}
	if g.packets != 0 {
		t.Errorf("the guest got %d packets", g.packets)
	}
}

func TestGuestConnects(t *testing.T) {
	base := filepath.Join(t.TempDir(), "v.sock")
	g := boot(t, Config{DialHost: UnixDialer(base)})
	l := hostListen(t, base, 9000)
	s, err := g.Dial(9000)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		io.Copy(c, c)
		c.Close()
	}()
	io.WriteString(s, "to the host")
	s.CloseWrite()
	if b, err := io.ReadAll(s); string(b) != "to the host" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	if _, err := g.Dial(9001); err == nil {
		t.Error("connect to a host port without a socket worked")
	}
}

func TestGuestConnectsWithoutDialer(t *testing.T) {
	g := boot(t, Config{})
	if _, err := g.Dial(9000); err == nil {
		t.Error("connected")
	}
}

func TestHostDialTimeout(t *testing.T) {
	g := boot(t, Config{ConnectTimeout: 20 * time.Millisecond,
		DialHost: func(ctx context.Context, _ uint32) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
	if _, err := g.Dial(1); err == nil {
		t.Error("connected")
	}
}

// A guest that does not answer, and one that answers too late.
func TestGuestSilent(t *testing.T) {
	m := newMachine(t, Config{CID: guestCID, ConnectTimeout: 30 * time.Millisecond})
	g := newGuest(t, m)
	if _, err := m.dev.Dial(t.Context(), 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("dial of a machine that is not started: %v", err)
	}
	g.probe(0) // interrupts are not handled
	if _, err := m.dev.Dial(t.Context(), 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("dial of a silent guest: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.dev.Dial(ctx, 5); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled dial: %v", err)
	}
	g.Listen(5)
	g.run()
	g.until("the RSTs", func() bool { return len(g.rsts) >= 2 && len(g.socks) == 0 })
}

// What the host asks for before there is a driver waits for it.
func TestDialBeforeStart(t *testing.T) {
	m := newMachine(t, Config{CID: guestCID})
	g := newGuest(t, m)
	g.Listen(3)
	result := make(chan error)
	go func() {
		c, err := m.dev.Dial(t.Context(), 3)
		if err == nil {
			c.Close()
		}
		result <- err
	}()
	g.probe(0)
	g.run()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestThousandQuickConnections(t *testing.T) {
	g := boot(t, Config{})
	accepted := g.Listen(1)
	go func() {
		for s := range accepted {
			go func() {
				io.Copy(s, s)
				s.Close()
			}()
		}
	}()
	path := serve(t, g.m.dev)
	for i := range 1000 {
		c, r, err := connect(t, path, 1)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		fmt.Fprintf(c, "%d\n", i)
		if line, err := r.ReadString('\n'); line != fmt.Sprintf("%d\n", i) {
			t.Fatalf("connection %d: %q, %v", i, line, err)
		}
		c.Close()
	}
	g.mu.Lock()
	delete(g.listen, 1)
	g.mu.Unlock()
	close(accepted)
	awaitIdle(t, g.m.dev)
}

// awaitIdle waits until the device has no connection left.
func awaitIdle(t testing.TB, d *Device) {
	t.Helper()
	idle := make(chan struct{})
	go func() {
		d.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-time.After(20 * time.Second):
		d.mu.Lock()
		defer d.mu.Unlock()
		t.Fatalf("%d slots and %d connections are still in use", d.slots, len(d.conns))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slots != 0 || len(d.conns) != 0 || len(d.pending) != 0 {
		t.Errorf("idle with %d slots, %d connections, %d of them in line", d.slots, len(d.conns), len(d.pending))
	}
}

func TestConnectionLimit(t *testing.T) {
	base := filepath.Join(t.TempDir(), "v.sock")
	g := boot(t, Config{DialHost: UnixDialer(base)})
	g.Listen(1)
	hostListen(t, base, 9)
	var conns []net.Conn
	for range maxConnections {
		c, err := g.m.dev.Dial(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if _, err := g.m.dev.Dial(t.Context(), 1); !errors.Is(err, ErrLimit) {
		t.Errorf("host's connection over the limit: %v", err)
	}
	if _, err := g.Dial(9); err == nil {
		t.Error("guest's connection over the limit was accepted")
	}
	for _, c := range conns {
		c.Close()
	}
	awaitIdle(t, g.m.dev)
	if _, err := g.Dial(9); err != nil {
		t.Errorf("connection after the limit: %v", err)
	}
}
