package agent_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clone/internal/agent"
)

// device listens like a VM's vsock device and answers CONNECT with reply.
func device(t *testing.T, reply string) (path string, asked <-chan string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "vsock.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		s, _ := bufio.NewReader(conn).ReadString('\n')
		lines <- s
		io.WriteString(conn, reply)
		if reply == "" {
			io.Copy(io.Discard, conn) // silence until the client leaves
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return path, lines
}

func TestDialVsockUnix(t *testing.T) {
	path, asked := device(t, "OK 1073741824\nfirst bytes of the stream")
	conn, err := agent.DialVsockUnix(t.Context(), path, 1024)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := <-asked; got != "CONNECT 1024\n" {
		t.Errorf("asked %q", got)
	}
	if got, err := io.ReadAll(conn); string(got) != "first bytes of the stream" || err != nil {
		t.Errorf("the stream is %q, %v", got, err)
	}
}

func TestDialVsockUnixErrors(t *testing.T) {
	for _, reply := range []string{"\n", "OK\n", "OK x\n", "NO 1\n", "OK 5000000000\n", strings.Repeat("O", 100), "OK 1"} {
		path, _ := device(t, reply)
		if conn, err := agent.DialVsockUnix(t.Context(), path, 1); err == nil {
			conn.Close()
			t.Errorf("accepted %q", reply)
		}
	}
	if _, err := agent.DialVsockUnix(t.Context(), "/no/such/socket", 1); err == nil {
		t.Error("connected to nothing")
	}
	path, _ := device(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := agent.DialVsockUnix(ctx, path, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent device: %v", err)
	}
}

func TestDialWait(t *testing.T) {
	g := startGuest(t)
	tries := 0
	c, err := agent.DialWait(t.Context(), func(ctx context.Context) (net.Conn, error) {
		if tries++; tries < 4 {
			return nil, errors.New("not yet")
		}
		return g.dial(ctx)
	})
	if err != nil || tries != 4 {
		t.Fatalf("%v after %d tries", err, tries)
	}
	c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	never := errors.New("never")
	_, err = agent.DialWait(ctx, func(context.Context) (net.Conn, error) { return nil, never })
	if !errors.Is(err, never) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
