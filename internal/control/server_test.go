package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeMachine records what it is asked, and answers what the test says.
type fakeMachine struct {
	mu       sync.Mutex
	info     Info
	err      error
	snapshot func(context.Context, SnapshotRequest) (SnapshotResult, error)
	shutdown ShutdownRequest
	pressed  int
	console  func() (io.ReadWriteCloser, error)
}

func (f *fakeMachine) do(change func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		change()
	}
	return f.err
}

func (f *fakeMachine) Info() (i Info) { f.mu.Lock(); defer f.mu.Unlock(); return f.info }
func (f *fakeMachine) Snapshot(ctx context.Context, r SnapshotRequest) (SnapshotResult, error) {
	return f.snapshot(ctx, r)
}
func (f *fakeMachine) Shutdown(_ context.Context, r ShutdownRequest) error {
	return f.do(func() { f.shutdown = r })
}
func (f *fakeMachine) PowerButton() error { return f.do(func() { f.pressed++ }) }
func (f *fakeMachine) Pause() error       { return f.do(func() { f.info.State = Paused }) }
func (f *fakeMachine) Resume() error      { return f.do(func() { f.info.State = Running }) }
func (f *fakeMachine) Console() (io.ReadWriteCloser, error) {
	return f.console()
}

type testServer struct {
	*Client
	l       net.Listener
	socket  string
	stopped chan error
}

// stop closes the listener and waits for Serve.
func (s *testServer) stop(t *testing.T) {
	t.Helper()
	s.l.Close()
	if err := <-s.stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	s.stopped <- nil
}

func start(t *testing.T, m Machine, uidOf func(net.Conn) (uint32, error)) *testServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "clone")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "control.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{NewClient(socket), l, socket, make(chan error, 1)}
	go func() { s.stopped <- serve(l, m, uidOf) }()
	t.Cleanup(func() { s.stop(t); os.RemoveAll(dir) })
	return s
}

func TestCalls(t *testing.T) {
	m := &fakeMachine{info: Info{ID: "0123456789ab", Name: "web", State: Running, MemoryMiB: 512}}
	m.snapshot = func(_ context.Context, r SnapshotRequest) (SnapshotResult, error) {
		return SnapshotResult{Template: r.Dir + "/" + r.Name, PauseNanoseconds: 1, TotalNanoseconds: 2, MemoryBytes: 3}, nil
	}
	c, ctx := start(t, m, peerUID), t.Context()
	if got, err := c.Info(ctx); err != nil || got != m.info {
		t.Errorf("Info: %+v, %v", got, err)
	}
	want := SnapshotResult{Template: "/t/base", PauseNanoseconds: 1, TotalNanoseconds: 2, MemoryBytes: 3}
	if got, err := c.Snapshot(ctx, SnapshotRequest{Name: "base", Dir: "/t"}); err != nil || got != want {
		t.Errorf("Snapshot: %+v, %v", got, err)
	}
	if err := c.Pause(ctx); err != nil || m.Info().State != Paused {
		t.Errorf("Pause: %v, %v", m.Info().State, err)
	}
	if err := c.Resume(ctx); err != nil || m.Info().State != Running {
		t.Errorf("Resume: %v, %v", m.Info().State, err)
	}
	if err := c.PowerButton(ctx); err != nil || m.pressed != 1 {
		t.Errorf("PowerButton: %d, %v", m.pressed, err)
	}
	req := ShutdownRequest{Force: true, TimeoutSeconds: 1.5}
	if err := c.Shutdown(ctx, req); err != nil || m.shutdown != req {
		t.Errorf("Shutdown: %+v, %v", m.shutdown, err)
	}
}

func TestErrorsCrossTheSocket(t *testing.T) {
	m := &fakeMachine{}
	c, ctx := start(t, m, peerUID), t.Context()
	for _, test := range []struct {
		err    error
		status int
		is     error
	}{
		{errors.New("the guest said no"), 500, nil},
		{fmt.Errorf("%w: already paused", ErrConflict), 409, ErrConflict},
		{fmt.Errorf("%w: no such thing", ErrInvalid), 400, ErrInvalid},
		{os.ErrExist, 409, ErrConflict},
		{context.DeadlineExceeded, 504, nil},
	} {
		m.err = test.err
		err := c.Pause(ctx)
		var e *Error
		if !errors.As(err, &e) || e.Status != test.status || e.Message != test.err.Error() {
			t.Errorf("%v: got %#v", test.err, err)
		}
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%v: errors.Is fails for %v", test.err, test.is)
		}
	}
}

// raw makes one request as curl would.
func raw(t *testing.T, socket, method, path, body string) (int, string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, path, len(body), body)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if ct := res.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("%s %s: content type %q", method, path, ct)
	}
	return res.StatusCode, string(b)
}

func TestBadRequests(t *testing.T) {
	m := &fakeMachine{snapshot: func(context.Context, SnapshotRequest) (SnapshotResult, error) {
		return SnapshotResult{}, errors.New("must not be called")
	}}
	s := start(t, m, peerUID)
	for _, test := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/", "", 404},
		{"GET", "/v2/vm", "", 404},
		{"GET", "/v1/vm/../vm", "", 404},
		{"POST", "/v1/vm", "", 405},
		{"GET", "/v1/vm/snapshot", "", 405},
		{"POST", "/v1/vm/snapshot", "{", 400},
		{"POST", "/v1/vm/snapshot", `{"nmae":"x"}`, 400},
		{"POST", "/v1/vm/snapshot", `{} {}`, 400},
		{"POST", "/v1/vm/snapshot", `[]`, 400},
		{"POST", "/v1/vm/snapshot", `{"name":"` + strings.Repeat("x", maxBody) + `"}`, 413},
		{"POST", "/v1/vm/shutdown", `{"timeout_seconds":-1}`, 400},
		{"POST", "/v1/vm/shutdown", `{"timeout_seconds":1e300}`, 400},
		{"POST", "/v1/vm/pause", `{"force":true}`, 400},
		{"GET", "/v1/vm/console", "", 426},
		{"GET", "/v1/vm", "", 200},
		{"POST", "/v1/vm/pause", "", 200},
		{"POST", "/v1/vm/resume", "{}\n", 200},
	} {
		status, body := raw(t, s.socket, test.method, test.path, test.body)
		var e Error
		err := json.Unmarshal([]byte(body), &e)
		if status != test.status || err != nil || (e.Message == "") != (status == 200) {
			t.Errorf("%s %s %.20s: %d %s; want %d", test.method, test.path, test.body, status, body, test.status)
		}
	}
}

func TestPeerIsRefused(t *testing.T) {
	for name, uidOf := range map[string]func(net.Conn) (uint32, error){
		"other user": func(net.Conn) (uint32, error) { return uint32(os.Geteuid()) + 1, nil },
		"unknown":    func(net.Conn) (uint32, error) { return 0, errors.New("no credentials") },
	} {
		m := &fakeMachine{console: func() (io.ReadWriteCloser, error) { return nil, errors.New("must not be called") }}
		s := start(t, m, uidOf)
		var e *Error
		if _, err := s.Info(t.Context()); !errors.As(err, &e) || e.Status != 403 {
			t.Errorf("%s: Info: %v, want 403", name, err)
		}
		if err := s.Pause(t.Context()); err == nil || m.Info().State == Paused {
			t.Errorf("%s: Pause was done", name)
		}
		if _, err := s.Console(t.Context()); !errors.As(err, &e) || e.Status != 403 {
			t.Errorf("%s: Console: %v, want 403", name, err)
		}
	}
}

func TestPeerUIDIsTheKernels(t *testing.T) {
	seen := make(chan uint32, 1)
	s := start(t, &fakeMachine{}, func(c net.Conn) (uint32, error) {
		uid, err := peerUID(c)
		seen <- uid
		return uid, err
	})
	if _, err := s.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	if uid := <-seen; uid != uint32(os.Geteuid()) {
		t.Errorf("peer uid %d, want %d", uid, os.Geteuid())
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := peerUID(a); err == nil {
		t.Error("a connection without credentials has an owner")
	}
}

// The request outlives the time a client has to send it, and is cancelled when the client gives up.
func TestClientGivesUp(t *testing.T) {
	entered, left := make(chan struct{}), make(chan error, 1)
	m := &fakeMachine{snapshot: func(ctx context.Context, _ SnapshotRequest) (SnapshotResult, error) {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return SnapshotResult{}, ctx.Err()
	}}
	s := start(t, m, peerUID)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := s.Snapshot(ctx, SnapshotRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Snapshot: %v", err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the machine was not told")
	}
}

func TestServeEndsWithAnswersInFlight(t *testing.T) {
	entered := make(chan struct{})
	m := &fakeMachine{snapshot: func(context.Context, SnapshotRequest) (SnapshotResult, error) {
		close(entered)
		return SnapshotResult{Template: "x"}, nil
	}}
	s := start(t, m, peerUID)
	go func() { <-entered; s.l.Close() }()
	if got, err := s.Snapshot(t.Context(), SnapshotRequest{}); err != nil || got.Template != "x" {
		t.Errorf("an answer in flight was lost: %v, %v", got, err)
	}
}

func TestVMGone(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	missing := NewClient(dir + "/none")
	if err := missing.Pause(ctx); err == nil || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "only just starting") {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	go func() { // dies in the middle of a call, as soon as it has read something of it
		c, err := l.Accept()
		if err == nil {
			c.Read(make([]byte, 1))
		}
		l.Close() // first, or the next call could still connect
		if err == nil {
			c.Close()
		}
	}()
	c := NewClient(dir + "/s")
	for _, when := range []string{"during the call", "nobody listens"} {
		if _, err := c.Info(ctx); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), when) {
			t.Errorf("want ErrGone %q: %v", when, err)
		}
	}
}

func TestHugeAnswer(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			w.Write(bytes.Repeat([]byte(" "), 1<<16))
		}
	})}
	go hs.Serve(l)
	defer hs.Close()
	if _, err := NewClient(l.Addr().String()).Info(t.Context()); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("an endless answer: %v", err)
	}
}

// A fault in the middle of an answer is told as such: the VM goes on.
func TestFaultIsAnswered(t *testing.T) {
	m := &fakeMachine{snapshot: func(context.Context, SnapshotRequest) (SnapshotResult, error) { panic("of the machine") }}
	s := start(t, m, peerUID)
	if _, err := s.Snapshot(t.Context(), SnapshotRequest{}); err == nil || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "fault in clone itself: of the machine") {
		t.Errorf("%v", err)
	}
	if _, err := s.Info(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
