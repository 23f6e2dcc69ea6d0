package agentd

import (
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is where connections come from.
type Listener interface {
	Accept() (io.ReadWriteCloser, error)
	Close() error
}

// Server serves the host over any number of connections.
type Server struct {
	// System is the machine; set it before Serve.
	System System

	mu    sync.Mutex
	conns map[*conn]struct{}
	done  bool
	wg    sync.WaitGroup

	identity  sync.Mutex // one identity at a time
	comparing sync.Mutex // one comparison of clocks at a time
}

// retryAccept is how long to wait when the machine has no memory or file
// descriptors left for another connection.
const retryAccept = 100 * time.Millisecond

// Serve accepts connections until the listener is closed or broken. It closes
// the listener and every connection and returns when their commands are gone.
func (s *Server) Serve(l Listener) error {
	defer s.closeAll()
	defer l.Close()
	for {
		rwc, err := l.Accept()
		switch {
		case err == nil:
			s.start(rwc)
		case exhausted(err):
			time.Sleep(retryAccept)
		case errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EINTR):
			// The peer left before it was accepted, as after a fork.
		default:
			return failed("accept", err)
		}
	}
}

func exhausted(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s *Server) start(rwc io.ReadWriteCloser) {
	c := newConn(s, rwc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		rwc.Close()
		return
	}
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
	}
	s.conns[c] = struct{}{}
	s.wg.Go(func() {
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	})
}

func (s *Server) closeAll() {
	s.mu.Lock()
	s.done = true
	for c := range s.conns {
		c.rwc.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}
