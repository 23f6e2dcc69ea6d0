package agentd

import (
	"errors"
	"io"
	"os"
	"time"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// maxDrain bounds what is read from a pipe after its command exited, in bytes:
// the largest pipe an unprivileged process can make (pipe(7),
// /proc/sys/fs/pipe-max-size), so all that the command can have left in it.
const maxDrain = 1 << 20

// pump passes one output of a command on until nobody can write to it any more,
// or the command exited and its output is out, or nobody wants it.
func (r *request) pump(s agentproto.Stream, f *os.File) {
	defer f.Close()
	buf := getBuffer()
	defer putBuffer(buf)
	for {
		n, err := f.Read(buf[agentproto.HeaderSize:])
		if n > 0 && !r.emit(s, buf, n) {
			return
		}
		if err == nil {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.drain(s, f, buf)
		}
		// Anything else is the end: EOF of a pipe, EIO of a terminal.
		r.end(s)
		return
	}
}

// drain passes on what is in the pipe now, without waiting for more.
func (r *request) drain(s agentproto.Stream, f *os.File, buf []byte) {
	f.SetReadDeadline(time.Time{})
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	for left := maxDrain; left > 0; {
		var n int
		var failure error
		err := raw.Read(func(fd uintptr) bool {
			n, failure = unix.Read(int(fd), buf[agentproto.HeaderSize:])
			return true // also when there is nothing
		})
		if err != nil || failure != nil || n <= 0 || !r.emit(s, buf, n) {
			return
		}
		left -= n
	}
}

// feed passes the host's data to the command's standard input until its end. A
// command that stopped reading does not stop the host: the rest is dropped.
func (r *request) feed(f *os.File, tty bool) {
	buf := getBuffer()
	defer putBuffer(buf)
	var last byte
	deaf := false
	for {
		n, err := r.take(buf)
		if err != nil {
			if err == io.EOF && tty && !deaf {
				f.Write(endOfInput(last))
			}
			break
		}
		if !deaf {
			_, err := f.Write(buf[:n])
			deaf = err != nil
		}
		last = buf[n-1]
		if r.taken(n) != nil {
			break
		}
	}
	if !tty {
		f.Close()
	}
}

// endOfInput is what ends the input of a terminal, which cannot be closed like
// a pipe: the character VEOF (termios(3)), Ctrl-D. Within a line the first one
// only hands the line over.
func endOfInput(last byte) []byte {
	const veof = 4
	if last == 0 || last == '\n' || last == '\r' {
		return []byte{veof}
	}
	return []byte{veof, veof}
}
