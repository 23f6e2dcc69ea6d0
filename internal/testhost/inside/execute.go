package inside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit statuses of a command that could not be started, as in shells.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// execute runs the command and returns its exit status, once all that it wrote
// has been sent. Processes that it leaves behind do not hold it up.
func execute(order Order, port io.ReadWriter) (int, error) {
	frames := NewFrameWriter(port)
	stdin, err := openStdin(order.Stdin, port)
	if err != nil {
		return 0, err
	}
	stdout, err := openStream(Stdout, frames)
	if err != nil {
		return 0, err
	}
	stderr, err := openStream(Stderr, frames)
	if err != nil {
		return 0, err
	}
	pid, err := start(order, []uintptr{stdin.Fd(), stdout.writer.Fd(), stderr.writer.Fd()})
	if err != nil {
		message := fmt.Sprintf("testhost: %v\n", err)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return exitNotFound, frames.Write(Stderr, []byte(message))
		}
		return exitNotExecutable, frames.Write(Stderr, []byte(message))
	}
	stdin.Close()
	exit, err := reapUntil(pid)
	return exit, errors.Join(err, stdout.finish(), stderr.finish())
}

// start looks the program up in the order's PATH, and starts it.
func start(order Order, fds []uintptr) (int, error) {
	for _, e := range order.Env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			os.Setenv("PATH", path)
		}
	}
	if err := os.Chdir(order.Dir); err != nil {
		return 0, err
	}
	program, err := exec.LookPath(order.Command[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return 0, err
	}
	pid, err := syscall.ForkExec(program, order.Command, &syscall.ProcAttr{
		Env:   order.Env,
		Files: fds,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", program, err)
	}
	return pid, nil
}

// reapUntil waits for pid, and for the orphans that process 1 is given meanwhile.
func reapUntil(pid int) (int, error) {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err == unix.EINTR || err == nil && got != pid:
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case ws.Signaled():
			return 128 + int(ws.Signal()), nil
		case ws.Exited():
			return ws.ExitStatus(), nil
		}
	}
}

// openStdin returns what the command reads: frames from the port, or /dev/null.
func openStdin(fromPort bool, port io.Reader) (reader *os.File, err error) {
	var writer *os.File
	if fromPort {
		reader, writer, err = os.Pipe()
	} else {
		reader, err = os.Open(os.DevNull)
	}
	if err != nil {
		return nil, err
	}
	// Nobody waits for this goroutine: it may hang in a read for ever, and ends
	// with the host.
	go receive(port, writer)
	return reader, nil
}

// receive writes what comes for the command to stdin, unless that is nil, and
// closes it at the end. It goes on reading until the port ends, because signs of
// life go on coming.
func receive(port io.Reader, stdin *os.File) {
	defer stdin.Close()
	for {
		kind, payload, err := ReadFrame(port)
		if err != nil {
			return
		}
		if kind != Stdin {
			continue
		}
		if _, err := stdin.Write(payload); err != nil || len(payload) == 0 {
			stdin.Close()
		}
	}
}
