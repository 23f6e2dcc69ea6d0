package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// DetachKey is Ctrl-Q: typed at Connect, it detaches and is not passed on.
const DetachKey = 0x11

// End is how a connection ended.
type End int

// The ends.
const (
	Ended       End = iota // the stream ended: the machine is gone
	Detached               // DetachKey was typed
	Interrupted            // the context ended
)

// Connect joins a console's stream and a terminal, or whatever in and out are: what the guest prints goes to out at once,
// what is read from in is typed. It makes a terminal raw, and restores it before it returns. The end of in is not the end
// of the connection. The stream is closed afterwards.
//
// A signal that kills the process leaves a terminal raw, so the caller turns those it can get into the end of ctx
// (signal.NotifyContext).
func Connect(ctx context.Context, stream io.ReadWriteCloser, in, out *os.File) (end End, err error) {
	defer stream.Close()
	restore, err := makeRaw(in)
	if err != nil {
		return Interrupted, err
	}
	defer func() { err = errors.Join(err, restore()) }()

	// A closed pipe as standard output is an error here, not the death of the process (os/signal, SIGPIPE).
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, unix.SIGPIPE)
	defer signal.Stop(pipe)

	stop, err := newStopper()
	if err != nil {
		return Interrupted, err
	}
	type outcome struct {
		end End
		err error
	}
	outcomes := make(chan outcome, 2)
	var running sync.WaitGroup
	running.Go(func() {
		outcomes <- outcome{Ended, show(stop, stream, int(out.Fd()))}
	})
	running.Go(func() {
		if detached, err := typeIn(stop, stream, int(in.Fd())); detached || err != nil {
			outcomes <- outcome{Detached, err}
		}
	})
	result := outcome{end: Interrupted}
	select {
	case result = <-outcomes:
	case <-ctx.Done():
	}
	stop.stop()
	stream.Close()
	running.Wait()
	stop.close()
	return result.end, result.err
}

// makeRaw makes in raw where it is a terminal, and returns what undoes it.
func makeRaw(in *os.File) (restore func() error, err error) {
	fd := int(in.Fd())
	if !term.IsTerminal(fd) {
		return func() error { return nil }, nil
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("making the terminal raw: %w", err)
	}
	return func() error { return term.Restore(fd, old) }, nil
}

// show copies what the guest prints until the stream ends, or stop.
func show(stop *stopper, stream io.Reader, out int) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := stream.Read(buf)
		if err := writeAll(stop, out, buf[:n]); err != nil {
			return fmt.Errorf("writing the console: %w", err)
		}
		if err == io.EOF || stop.stopped() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the console: %w", err)
		}
	}
}

// typeIn copies what is typed until in ends, which is not the end of anything, or the detach key, or stop.
func typeIn(stop *stopper, stream io.Writer, in int) (detached bool, err error) {
	buf := make([]byte, 4096)
	for stop.wait(in, unix.POLLIN) {
		n, err := unix.Read(in, buf)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			continue
		case err == unix.EIO, err == nil && n == 0: // EIO: the terminal hung up
			return false, nil
		case err != nil:
			return false, os.NewSyscallError("read", err)
		}
		typed, _, detached := bytes.Cut(buf[:n], []byte{DetachKey})
		if len(typed) > 0 {
			if _, err := stream.Write(typed); err != nil {
				return detached, nil // the machine has ended: show says so, after its last words
			}
		}
		if detached {
			return true, nil
		}
	}
	return false, nil
}
