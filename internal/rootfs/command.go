package rootfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// command is one run of a tool.
type command struct {
	name string
	args []string
	line func(string) // each line of output and errors; nil drops them
	// contained runs the tool as PID 1 of its own PID and mount name space:
	// when it ends or is killed, its descendants and mounts go with it.
	contained bool
}

// tailLines is how much of a failed tool's output its error repeats.
const tailLines = 5

// run waits for c to end. A cancelled ctx kills it.
func run(ctx context.Context, c command) error {
	name, args := c.name, c.args
	if c.contained {
		// libmount reads /proc/self, which is dangling until /proc is that of
		// the new PID name space.
		args = append([]string{"-c", `mount -t proc proc /proc && exec "$@"`, "sh", name}, args...)
		name = "sh"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+toolPath())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.contained {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS // Go makes the mounts private
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second

	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	tail := make(chan []string, 1)
	go func() { tail <- readLines(r, c.line) }()
	err := cmd.Run()
	w.Close()
	last := <-tail
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, syscall.EPERM) && c.contained {
		return fmt.Errorf("%s needs name spaces of its own, which this host refuses: run on the host itself or in a privileged container: %w", c.name, err)
	}
	return &toolError{name: c.name, err: err, last: last}
}

// toolError is a tool that ran and failed.
type toolError struct {
	name string
	err  error
	last []string // what it said, as far as it tells why
}

func (e *toolError) Error() string {
	if len(e.last) == 0 {
		return e.name + ": " + e.err.Error()
	}
	return e.name + ": " + e.err.Error() + ": " + strings.Join(e.last, "; ")
}

func (e *toolError) Unwrap() error { return e.err }

// readLines hands each line on and returns the last few. It always reads to
// the end, or the tool would block.
func readLines(r io.Reader, line func(string)) []string {
	var last []string
	scan := bufio.NewScanner(r)
	scan.Split(scanProgress)
	for scan.Scan() {
		text := strings.TrimSpace(scan.Text())
		if text == "" {
			continue
		}
		if line != nil {
			line(text)
		}
		if last = append(last, text); len(last) > tailLines {
			last = last[1:]
		}
	}
	// A line beyond the scanner's limit: drop the rest.
	_, _ = io.Copy(io.Discard, r)
	return last
}

// scanProgress splits at newlines and at the carriage returns of progress bars.
func scanProgress(data []byte, atEOF bool) (int, []byte, error) {
	for i, b := range data {
		if b == '\n' || b == '\r' || b == '\b' {
			return i + 1, data[:i], nil
		}
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// toolPath is PATH with the administrators' directories, which su and cron
// leave out.
func toolPath() string {
	path := os.Getenv("PATH")
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if !strings.Contains(":"+path+":", ":"+dir+":") {
			path = strings.TrimPrefix(path+":"+dir, ":")
		}
	}
	return path
}
