package vsock

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"clone/internal/virtio"
)

// stream is the host socket of a connection, with what the net package does not have: transfers and shutdowns that
// never wait, so that they can be done under the device's lock.
type stream struct {
	net.Conn
	raw syscall.RawConn
}

func newStream(c net.Conn) (*stream, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("host connection is a %T, not a socket", c)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &stream{Conn: c, raw: raw}, nil
}

// streamPair returns the two ends of a Unix socket pair: one for the device, one for its user.
func streamPair() (ours *stream, theirs net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	a, errA := connFromFD(fds[0])
	b, errB := connFromFD(fds[1])
	if err = errors.Join(errA, errB); err == nil {
		ours, err = newStream(a)
	}
	if err != nil {
		for _, c := range []net.Conn{a, b} {
			if c != nil {
				_ = c.Close()
			}
		}
		return nil, nil, err
	}
	return ours, b, nil
}

// connFromFD takes the descriptor over.
func connFromFD(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socketpair")
	defer f.Close() // FileConn works on a duplicate
	return net.FileConn(f)
}

// send writes what the socket takes at once; none is no error.
func (s *stream) send(data virtio.Segments) (n int, err error) {
	data = data[:min(len(data), maxSegments)]
	ctlErr := s.raw.Control(func(fd uintptr) {
		for {
			n, err = unix.SendmsgBuffers(int(fd), data, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if err != unix.EINTR {
				return
			}
		}
	})
	if err == unix.EAGAIN {
		return 0, nil
	}
	return max(n, 0), errors.Join(ctlErr, err)
}

// shutdown is shutdown(2). Unlike Close it does not wait for those who read or write; it wakes them.
func (s *stream) shutdown(how int) {
	_ = s.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), how) })
}

// awaitHangup returns when both directions are shut down, by whichever side.
func (s *stream) awaitHangup() { _ = s.raw.Read(hungUp) }

// peek waits for data and returns a copy of what is there, up to len(p) bytes, leaving it in the socket.
func (s *stream) peek(p []byte) (n int, err error) {
	readErr := s.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if readErr == nil && err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return max(n, 0), errors.Join(readErr, err)
}

// discard throws away what is unread after this direction was shut down; nothing more arrives, so it ends. Without it a
// client that waits in poll for room would never learn that there is none (Linux wakes it only for room), and a Unix
// socket closed with unread data gives its peer ECONNRESET, where a guest's orderly close deserves an end of file.
func (s *stream) discard() {
	var p [16 << 10]byte
	_ = s.raw.Control(func(fd uintptr) {
		for {
			n, err := unix.Read(int(fd), p[:])
			if n <= 0 && err != unix.EINTR {
				return
			}
		}
	})
}

// readv reads from a non-blocking socket without waiting.
func readv(fd uintptr, iov [][]byte) (int, error) {
	for {
		n, err := unix.Readv(int(fd), iov)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// hungUp tells whether both directions of a socket are shut down.
func hungUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(p, 0)
	return err == nil && p[0].Revents&unix.POLLHUP != 0
}
