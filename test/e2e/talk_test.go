package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit is for what should take seconds, on the slowest machine.
const limit = 3 * time.Minute

// talk is a running clone command whose output is read while it runs, and to which can be typed.
type talk struct {
	cmd *exec.Cmd
	in  io.WriteCloser

	mu   sync.Mutex
	seen []byte
	more chan struct{} // closed and replaced when there is more to see
	over chan struct{} // closed when there will be no more
}

// talk starts a command with pipes. Both of its outputs are seen together.
func (h *host) talk(t *testing.T, args ...string) *talk {
	t.Helper()
	cmd := h.command(context.Background(), args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = theirs, theirs
	return begin(t, cmd, in, out, theirs)
}

// talkOnTerminal starts a command on a terminal of 24 rows and 80 columns, and returns the user's side of that too.
func (h *host) talkOnTerminal(t *testing.T, args ...string) (*talk, *os.File) {
	t.Helper()
	user, tty := pty(t)
	resize(t, user, 24, 80)
	cmd := h.command(context.Background(), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return begin(t, cmd, user, user, tty), user
}

func begin(t *testing.T, cmd *exec.Cmd, in io.WriteCloser, out io.ReadCloser, theirs *os.File) *talk {
	t.Helper()
	k := &talk{cmd: cmd, in: in, more: make(chan struct{}), over: make(chan struct{})}
	err := cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	go k.watch(out)
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		in.Close()
		out.Close()
		<-k.over
		if t.Failed() {
			t.Logf("%s showed:\n%s", strings.Join(cmd.Args[1:], " "), k.shown())
		}
	})
	return k
}

func (k *talk) watch(out io.Reader) {
	defer close(k.over)
	buf := make([]byte, 32<<10)
	for {
		n, err := out.Read(buf)
		k.mu.Lock()
		k.seen = append(k.seen, buf[:n]...)
		close(k.more)
		k.more = make(chan struct{})
		k.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (k *talk) shown() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return string(k.seen)
}

// expect waits until the command has shown want.
func (k *talk) expect(t *testing.T, want string) {
	t.Helper()
	late := time.After(limit)
	for {
		k.mu.Lock()
		more, found := k.more, strings.Contains(string(k.seen), want)
		k.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-k.over:
			if !strings.Contains(k.shown(), want) {
				t.Fatalf("it ended without showing %q", want)
			}
		case <-late:
			t.Fatalf("it has not shown %q", want)
		}
	}
}

func (k *talk) enter(t *testing.T, s string) {
	t.Helper()
	if _, err := io.WriteString(k.in, s); err != nil {
		t.Fatal(err)
	}
}

// ended waits for the command's end and checks its exit status.
func (k *talk) ended(t *testing.T, status int) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- k.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatal("it does not end")
	}
	<-k.over
	if got := k.cmd.ProcessState.ExitCode(); got != status {
		t.Fatalf("exit status %d, want %d", got, status)
	}
}

// pty makes a pseudo-terminal: the user's side, and the program's.
func pty(t *testing.T) (user, tty *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := user.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var unlock, number error
	err = raw.Control(func(fd uintptr) {
		unlock = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		n, number = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
	})
	if err := errors.Join(err, unlock, number); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return user, tty
}

// resize changes the size of the terminal that user has in front of it, which tells the program.
func resize(t *testing.T, user *os.File, rows, cols uint16) {
	t.Helper()
	raw, err := user.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if err := errors.Join(err, set); err != nil {
		t.Fatal(err)
	}
}

// await waits until a condition holds that other processes bring about.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
