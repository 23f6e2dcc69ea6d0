package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// Bounds of what a client can make the server hold.
const (
	maxBody       = 64 << 10         // bytes of a request body
	maxHeader     = 8 << 10          // bytes of its header
	headerTimeout = 30 * time.Second // to send the header: a busy host may take long to let a client go on
	bodyTimeout   = 10 * time.Second // to send the body
	idleTimeout   = 60 * time.Second // between two requests of a connection
	farewell      = 1 * time.Second  // for answers still being written when the listener closes

	maxSeconds = 24 * 60 * 60 // of whatever a client lets the VM wait for
)

func validSeconds(s float64) bool { return s >= 0 && s <= maxSeconds }

// Serve answers clients on l until l is closed. Then it gives answers and console streams a second to finish, ends what is
// left, and returns nil. None of its goroutines is left then.
func Serve(l net.Listener, m Machine) error { return serve(l, m, peerUID) }

func serve(l net.Listener, m Machine, uidOf func(net.Conn) (uint32, error)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &server{machine: m, ending: ctx}
	hs := &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			s.conns.Add(1)
			return withPeer(ctx, checkPeer(c, uidOf))
		},
		ConnState: func(_ net.Conn, st http.ConnState) {
			if st == http.StateClosed {
				s.conns.Done()
			}
		},
		ErrorLog: log.New(io.Discard, "", 0), // a client's broken request is the client's problem
	}
	err := hs.Serve(l)
	bye, stop := context.WithTimeout(context.Background(), farewell)
	defer stop()
	_ = hs.Shutdown(bye) // its error is that time is up
	done := make(chan struct{})
	go func() { s.conns.Wait(); close(done) }()
	select {
	case <-done:
	case <-bye.Done():
	}
	cancel()
	_ = hs.Close()
	<-done
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

type server struct {
	machine Machine
	ending  context.Context // done when what still runs must end
	conns   sync.WaitGroup  // connections; one that became a console stream counts until the stream ends
}

// An answer is what a resource does with a request's body.
type answer func(*server, context.Context, []byte) (any, error)

// routes are path, then method.
var routes = map[string]map[string]answer{
	"/v1/vm":              {http.MethodGet: (*server).info},
	"/v1/vm/snapshot":     {http.MethodPost: (*server).snapshot},
	"/v1/vm/shutdown":     {http.MethodPost: (*server).shutdown},
	"/v1/vm/power-button": {http.MethodPost: command(Machine.PowerButton)},
	"/v1/vm/pause":        {http.MethodPost: command(Machine.Pause)},
	"/v1/vm/resume":       {http.MethodPost: command(Machine.Resume)},
}

func (s *server) handle(w http.ResponseWriter, req *http.Request) {
	defer s.caught(w)
	if err := peerError(req.Context()); err != nil {
		writeError(w, http.StatusForbidden, err.Error())
		return
	}
	if req.URL.Path == consolePath {
		s.console(w, req)
		return
	}
	methods, ok := routes[req.URL.Path]
	if !ok {
		writeError(w, http.StatusNotFound, "no such resource: "+req.URL.Path)
		return
	}
	do, ok := methods[req.Method]
	if !ok {
		for m := range methods {
			w.Header().Add("Allow", m)
		}
		writeError(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s does not take %s", req.URL.Path, req.Method))
		return
	}
	body, err := readBody(w, req)
	if err != nil {
		writeError(w, statusOf(err), err.Error())
		return
	}
	result, err := do(s, req.Context(), body)
	if err != nil {
		writeError(w, statusOf(err), err.Error())
		return
	}
	writeJSON(w, http.StatusOK, result)
}

// caught answers a request that met a fault of ours. net/http would hang up, which looks like the end of the VM; the guest is
// unharmed as far as anybody knows, and goes on.
func (s *server) caught(w http.ResponseWriter) {
	if fault := recover(); fault != nil {
		fmt.Fprintf(os.Stderr, "clone: fault in the control server: %v\n%s\n", fault, debug.Stack())
		writeError(w, http.StatusInternalServerError, fmt.Sprintf("a fault in clone itself: %v; please report it, with the log in the VM's directory", fault))
	}
}

func (s *server) info(context.Context, []byte) (any, error) { return s.machine.Info(), nil }

func (s *server) snapshot(ctx context.Context, body []byte) (any, error) {
	var req SnapshotRequest
	if err := decode(body, &req); err != nil {
		return nil, err
	}
	if !validSeconds(req.SettleSeconds) {
		return nil, fmt.Errorf("%w: settle_seconds is 0 to %d", ErrInvalid, maxSeconds)
	}
	return s.machine.Snapshot(ctx, req)
}

func (s *server) shutdown(ctx context.Context, body []byte) (any, error) {
	var req ShutdownRequest
	if err := decode(body, &req); err != nil {
		return nil, err
	}
	if !validSeconds(req.TimeoutSeconds) {
		return nil, fmt.Errorf("%w: timeout_seconds is 0 to %d", ErrInvalid, maxSeconds)
	}
	return struct{}{}, s.machine.Shutdown(ctx, req)
}

// command is the answer of a request that says nothing more: the VM's Info afterwards.
func command(do func(Machine) error) answer {
	return func(s *server, _ context.Context, body []byte) (any, error) {
		if err := decode(body, &struct{}{}); err != nil {
			return nil, err
		}
		if err := do(s.machine); err != nil {
			return nil, err
		}
		return s.machine.Info(), nil
	}
}
