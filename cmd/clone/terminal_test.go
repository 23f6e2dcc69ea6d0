package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clone/internal/control"
)

// terminal is a clone command whose controlling terminal is a pseudo-terminal (pty(7)).
type terminal struct {
	cmd    *exec.Cmd
	user   *os.File // what the user sees and types
	tty    *os.File
	before *unix.Termios
	seen   []byte
}

// onTerminal starts a fake VM, and a clone command on a terminal of 24 by 80.
func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	dir, err := os.MkdirTemp("", "clone")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	env := append(os.Environ(), "CLONE_RUNTIME_DIR="+dir)
	vm := exec.Command("fakevm", "web")
	vm.Env = env
	out, err := vm.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Process.Kill(); vm.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("clone", args...)
	cmd.Env = env
	return startOnTerminal(t, cmd)
}

// startOnTerminal starts a command on a terminal of 24 by 80.
func startOnTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	s := &terminal{cmd: cmd}
	s.user, s.tty = pty(t)
	s.resize(t, 24, 80)
	s.before = s.modes(t)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.tty, s.tty, s.tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	return s
}

func pty(t *testing.T) (user, tty *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	raw, err := user.SyscallConn() // Fd would make it blocking, and reads without a deadline
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
	t.Cleanup(func() { tty.Close() })
	return user, tty
}

func (s *terminal) modes(t *testing.T) *unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (s *terminal) resize(t *testing.T, rows, cols uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(s.tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		t.Fatal(err)
	}
}

// expect reads what the terminal shows until it has shown want.
func (s *terminal) expect(t *testing.T, want string) {
	t.Helper()
	buf := make([]byte, 4096)
	s.user.SetReadDeadline(time.Now().Add(20 * time.Second))
	for !bytes.Contains(s.seen, []byte(want)) {
		n, err := s.user.Read(buf)
		s.seen = append(s.seen, buf[:n]...)
		if err != nil {
			t.Fatalf("%v; shown: %q, want %q", err, s.seen, want)
		}
	}
}

// ended waits for the command, and checks its status and the terminal it leaves.
func (s *terminal) ended(t *testing.T, status int) {
	t.Helper()
	s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("exit status %d, want %d; shown: %q", got, status, s.seen)
	}
	if !reflect.DeepEqual(s.modes(t), s.before) {
		t.Error("the terminal was not restored")
	}
}

func TestExecTerminal(t *testing.T) {
	s := onTerminal(t, "exec", "-t", "--", "sh", "-c", `stty size; trap 'stty size; exit 9' WINCH; echo go; while :; do sleep 0.02; done`)
	s.expect(t, "24 80")
	s.expect(t, "go")
	s.resize(t, 33, 99)
	s.expect(t, "33 99")
	s.ended(t, 9)
}

// Ctrl-C on a terminal is a key, and the guest's terminal makes the signal of it.
func TestExecTerminalInterrupt(t *testing.T) {
	s := onTerminal(t, "exec", "-t", "--", "sh", "-c", `trap 'exit 7' INT; echo go; while :; do sleep 0.02; done`)
	s.expect(t, "go")
	s.user.Write([]byte{3})
	s.ended(t, 7)
}

// Without -t it interrupts clone, which passes it on.
func TestExecInterrupt(t *testing.T) {
	s := onTerminal(t, "exec", "--", "sh", "-c", `trap 'exit 7' INT; echo go; while :; do sleep 0.02; done`)
	s.expect(t, "go")
	s.user.Write([]byte{3})
	s.ended(t, 7)
}

// Without -i, a terminal's input is not the command's.
func TestExecLeavesTerminalInput(t *testing.T) {
	s := onTerminal(t, "exec", "--", "sh", "-c", "cat; echo end")
	s.expect(t, "end")
	s.ended(t, 0)
}

func TestAttachTerminal(t *testing.T) {
	for name, test := range map[string]struct {
		end    func(*terminal)
		shown  string
		status int
	}{
		"detach": {func(s *terminal) { s.user.Write([]byte{0x11}) }, "goes on", 0},
		"signal": {func(s *terminal) { s.cmd.Process.Signal(unix.SIGTERM) }, "interrupted", 130},
		"vm ends": {func(s *terminal) {
			for _, kv := range s.cmd.Env {
				if dir, ok := strings.CutPrefix(kv, "CLONE_RUNTIME_DIR="); ok {
					r, _ := control.OpenAt(dir)
					vm, _ := r.Find("web")
					control.NewClient(r.ControlSocket(vm.ID)).Shutdown(t.Context(), control.ShutdownRequest{})
				}
			}
		}, "has ended", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := onTerminal(t, "attach")
			s.expect(t, "login: ")
			s.user.Write([]byte{3}) // Ctrl-C is the guest's
			s.expect(t, "[\x03]")
			if s.modes(t).Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
				t.Error("the terminal is not raw")
			}
			test.end(s)
			s.expect(t, test.shown)
			s.ended(t, test.status)
		})
	}
}
