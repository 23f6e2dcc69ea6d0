package console

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// stopper lets a goroutine wait for a file descriptor that the runtime's poller does not take (a terminal, a file), and
// another end the wait: a blocking read could not be joined, and would swallow what is typed after a detach.
type stopper struct {
	r, w *os.File // closing w ends every wait
	done atomic.Bool
}

func newStopper() (*stopper, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &stopper{r: r, w: w}, nil
}

func (s *stopper) stop() {
	s.done.Store(true)
	s.w.Close()
}

func (s *stopper) stopped() bool { return s.done.Load() }

// close releases what is left when nobody waits any more.
func (s *stopper) close() { s.r.Close() }

// wait returns true when fd is ready for events, or broken, and false after stop.
func (s *stopper) wait(fd int, events int16) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(s.r.Fd()), Events: unix.POLLIN}}
	for !s.stopped() {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return true // the read or write that follows tells what is wrong
		}
		if fds[0].Revents != 0 && fds[1].Revents == 0 {
			return true
		}
	}
	return false
}

// pipeBuf is how much a pipe that is ready takes without blocking (pipe(7), PIPE_BUF).
const pipeBuf = 4096

// writeAll writes p to fd, waiting for a slow reader at most until stop.
func writeAll(s *stopper, fd int, p []byte) error {
	for len(p) > 0 && s.wait(fd, unix.POLLOUT) {
		n, err := unix.Write(fd, p[:min(len(p), pipeBuf)])
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return os.NewSyscallError("write", err)
		}
		p = p[max(n, 0):]
	}
	return nil
}
