package agent_test

import (
	"bufio"
	"io"
	"strings"
	"syscall"
	"testing"

	"clone/internal/agent"
)

// terminal is a command on a terminal, and its two directions.
type terminal struct {
	*agent.Process
	in  *io.PipeWriter
	out *bufio.Reader
}

func openTerminal(t *testing.T, c *agent.Client, cmd agent.Command) *terminal {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	cmd.TTY, cmd.Stdin, cmd.Stdout = true, inR, outW
	p, err := c.Exec(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		inR.Close()
		outR.Close()
	})
	return &terminal{p, inW, bufio.NewReader(outR)}
}

// line reads up to a line that has want in it.
func (tt *terminal) line(t *testing.T, want string) {
	t.Helper()
	for {
		s, err := tt.out.ReadString('\n')
		if err != nil {
			t.Fatalf("no %q: %v", want, err)
		}
		if strings.Contains(s, want) {
			return
		}
	}
}

// end waits for the command; its terminal still echoes.
func (tt *terminal) end(t *testing.T, want int) {
	t.Helper()
	go io.Copy(io.Discard, tt.out)
	if status, err := tt.Wait(); status != want || err != nil {
		t.Errorf("status %d, %v; want %d", status, err, want)
	}
}

func TestTerminal(t *testing.T) {
	c := connect(t)
	tt := openTerminal(t, c, agent.Command{
		Args: []string{"sh", "-c", "tty; stty size; echo term=$TERM; trap 'stty size' WINCH; echo ready; while :; do read x; [ \"$x\" = quit ] && exit 7; done"},
		Rows: 33, Cols: 101,
	})
	tt.line(t, "/dev/pts/")
	tt.line(t, "33 101")
	tt.line(t, "term=xterm")
	tt.line(t, "ready")
	if err := tt.Resize(50, 132); err != nil {
		t.Fatal(err)
	}
	io.WriteString(tt.in, "\n")
	tt.line(t, "50 132")
	io.WriteString(tt.in, "quit\n")
	tt.line(t, "quit") // the terminal echoes
	tt.end(t, 7)
}

func TestTerminalInterrupt(t *testing.T) {
	c := connect(t)
	// exec: dash loses a SIGINT that comes between its vfork and its wait.
	tt := openTerminal(t, c, agent.Command{Args: []string{"sh", "-c", "echo ready; exec sleep 1000"}})
	tt.line(t, "ready")
	io.WriteString(tt.in, "\x03")
	tt.end(t, 128+int(syscall.SIGINT))
}

func TestTerminalEndOfInput(t *testing.T) {
	c := connect(t)
	for _, input := range []string{"", "a line\n", "no newline"} {
		var out strings.Builder
		cmd := agent.Command{Args: []string{"sh", "-c", "stty -echo; cat; echo end"}, TTY: true,
			Stdin: strings.NewReader(input), Stdout: &out}
		p, err := c.Exec(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		if status, err := p.Wait(); status != 0 || err != nil || !strings.HasSuffix(out.String(), "end\r\n") {
			t.Errorf("%q: output %q, status %d, %v", input, out.String(), status, err)
		}
	}
}

func TestTerminalNotFound(t *testing.T) {
	c := connect(t)
	tt := openTerminal(t, c, agent.Command{Args: []string{"no-such-program"}})
	tt.line(t, "no-such-program: command not found\r\n")
	tt.end(t, 127)
}

func TestTerminalUser(t *testing.T) {
	out, _, status := run(t, connect(t), agent.Command{
		Args: []string{"sh", "-c", "echo x > $(tty) && id -u"}, TTY: true, User: "1234"})
	if status != 0 || !strings.Contains(out, "x\r\n1234\r\n") {
		t.Errorf("output %q, status %d", out, status)
	}
}
