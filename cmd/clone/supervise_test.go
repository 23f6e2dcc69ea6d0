package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// supervised is a program that runs under a supervisor, as a VM with a memory limit does. It counts the signals that it
// gets, and ends at a SIGTERM; with an argument it makes its terminal raw, and is killed then.
func supervised() {
	if !isSupervised() {
		err := supervise()
		fmt.Fprintln(os.Stderr, "supervisor: "+messageOf(err))
		os.Exit(statusOf(err))
	}
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM)
	raw := len(os.Args) > 1
	if raw {
		if _, err := rawTerminal(os.Stdin); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fmt.Print("go\n")
	seen := map[os.Signal]int{}
	for s := range caught {
		switch {
		case s != unix.SIGTERM:
			seen[s]++
			fmt.Printf("%v %d\n", s, seen[s])
		case raw:
			unix.Kill(os.Getpid(), unix.SIGKILL)
		default:
			os.Exit(7)
		}
	}
}

// A VM that is killed cannot restore the terminal it has made raw.
func TestKilledVMLeavesTerminalAsItWas(t *testing.T) {
	t.Setenv("CLONE_RUNTIME_DIR", t.TempDir())
	s := startOnTerminal(t, exec.Command("supervised", "raw"))
	s.expect(t, "go\n")
	if s.modes(t).Lflag&unix.ICANON != 0 {
		t.Error("the terminal is not raw")
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	s.expect(t, "process was killed (killed)\r\n") // a raw terminal would show no carriage return
	s.ended(t, 128+int(unix.SIGKILL))
}

// Ctrl-C is a signal to all processes in the foreground: nobody may add another to it.
func TestInterruptIsNotDoubled(t *testing.T) {
	s := startOnTerminal(t, exec.Command("supervised"))
	s.expect(t, "go")
	const rounds = 5
	for i := range rounds {
		s.user.Write([]byte{3})
		s.expect(t, fmt.Sprintf("interrupt %d", i+1))
	}
	s.user.Write([]byte{0x1c})
	s.expect(t, "quit 1")
	s.cmd.Process.Signal(unix.SIGUSR1) // what came before it has been forwarded, where it was
	s.expect(t, "user defined signal 1 1")
	if again := fmt.Sprintf("interrupt %d", rounds+1); bytes.Contains(s.seen, []byte(again)) || bytes.Contains(s.seen, []byte("quit 2")) {
		t.Errorf("a signal came twice: %q", s.seen)
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	s.ended(t, 7)
}

// Where the terminal is raw Ctrl-C is a key, so an interrupt comes from elsewhere.
func TestInterruptOfRawTerminal(t *testing.T) {
	t.Setenv("CLONE_RUNTIME_DIR", t.TempDir())
	s := startOnTerminal(t, exec.Command("supervised", "raw"))
	s.expect(t, "go")
	s.cmd.Process.Signal(unix.SIGINT)
	s.expect(t, "interrupt 1")
	s.cmd.Process.Signal(unix.SIGTERM)
	s.expect(t, "process was killed")
	s.ended(t, 128+int(unix.SIGKILL))
}

// The supervisor's PID is the one that the user knows.
func TestSupervisorForwardsSignals(t *testing.T) {
	cmd := exec.Command("supervised")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	lines := bufio.NewReader(out)
	expect := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	expect("go")
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
		cmd.Process.Signal(s)
		expect(fmt.Sprintf("%v 1", s))
	}
	cmd.Process.Signal(unix.SIGTERM)
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 7 {
		t.Errorf("exit status %d", got)
	}
}
