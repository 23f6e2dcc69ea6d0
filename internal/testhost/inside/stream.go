package inside

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A stream sends what the command writes into a pipe. The command does not get
// the port itself, because that carries frames and can be opened only once.
type stream struct {
	kind           Kind
	frames         *FrameWriter
	reader, writer *os.File   // the pipe
	copied         chan error // the copying goroutine's end
}

func openStream(kind Kind, frames *FrameWriter) (*stream, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &stream{kind, frames, reader, writer, make(chan error, 1)}
	go func() { s.copied <- frames.Copy(kind, reader) }()
	return s, nil
}

// finish sends what is in the pipe now. It does not wait for processes that
// still hold the pipe open.
func (s *stream) finish() error {
	s.writer.Close()
	if err := s.reader.SetReadDeadline(time.Now()); err != nil {
		return err
	}
	if err := <-s.copied; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	// A read through os.File fails from the deadline on, even where there is
	// something to read; the descriptor itself does not know of it, and does not
	// block.
	raw, err := s.reader.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, maxPayload)
	for {
		var n int
		var readErr error
		if err := raw.Control(func(fd uintptr) { n, readErr = unix.Read(int(fd), buf) }); err != nil {
			return err
		}
		switch {
		case readErr == unix.EINTR:
		case readErr == unix.EAGAIN || n == 0:
			return s.reader.Close()
		case readErr != nil:
			return readErr
		default:
			if err := s.frames.Write(s.kind, buf[:n]); err != nil {
				return err
			}
		}
	}
}
