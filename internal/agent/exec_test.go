package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"clone/internal/agent"
	"clone/internal/agentproto"
)

// run runs a command to its end.
func run(t testing.TB, c *agent.Client, cmd agent.Command) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	p, err := c.Exec(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	status, err = p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), status
}

func sh(script string) agent.Command { return agent.Command{Args: []string{"sh", "-c", script}} }

func TestExec(t *testing.T) {
	c := connect(t)
	dir := t.TempDir()
	plain := dir + "/plain"
	if err := os.WriteFile(plain, []byte("echo no interpreter line: $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	data := dir + "/data"
	if err := os.WriteFile(data, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name           string
		cmd            agent.Command
		stdout, stderr string // stderr: a part of it
		status         int
	}{
		{"output", sh("echo hello"), "hello\n", "", 0},
		{"both outputs", sh("echo out; echo err >&2"), "out\n", "err", 0},
		{"status", sh("exit 42"), "", "", 42},
		{"status 255", sh("exit 255"), "", "", 255},
		{"killed", sh("kill -9 $$"), "", "", 137},
		{"terminated", sh("kill -TERM $$"), "", "", 143},
		{"not found", agent.Command{Args: []string{"no-such-program"}}, "", "no-such-program: command not found", 127},
		{"no such path", agent.Command{Args: []string{"/no/such/program"}}, "", "/no/such/program", 127},
		{"not executable", agent.Command{Args: []string{data}}, "", "permission denied", 126},
		{"not executable in PATH", agent.Command{Args: []string{"data"}, Env: []string{"PATH=" + dir}}, "", "permission denied", 126},
		{"a directory", agent.Command{Args: []string{dir}}, "", "permission denied", 126},
		{"script without interpreter", agent.Command{Args: []string{plain, "arg"}}, "no interpreter line: arg\n", "", 0},
		{"stdin is empty", sh("cat; echo end"), "end\n", "", 0},
		{"directory", agent.Command{Args: []string{"pwd"}, Dir: "/usr"}, "/usr\n", "", 0},
		{"home", agent.Command{Args: []string{"pwd"}, User: "0"}, "/\n", "", 0},
		{"no such directory", agent.Command{Args: []string{"pwd"}, Dir: "/no/such"}, "", "working directory", 126},
		{"relative in directory", agent.Command{Args: []string{"./plain", "x"}, Dir: dir}, "no interpreter line: x\n", "", 0},
		{"relative PATH", agent.Command{Args: []string{"plain", "x"}, Dir: dir, Env: []string{"PATH=.:/bin"}}, "no interpreter line: x\n", "", 0},
		{"environment", agent.Command{Args: []string{"sh", "-c", "echo $A-$HOME-$B"}, Env: []string{"A=1", "HOME=/h", "B=x=y"}}, "1-/h-x=y\n", "", 0},
		{"numeric user", agent.Command{Args: []string{"sh", "-c", "id -u; id -g; id -G"}, User: "1234:567"}, "1234\n567\n567\n", "", 0},
		{"own session", sh("ps -o sid= -p $$ | tr -d ' ' | grep -qx $$ && echo yes"), "yes\n", "", 0},
		{"user writes to /dev/stderr", agent.Command{Args: []string{"sh", "-c", "echo x > /dev/stderr"}, User: "1234"}, "", "x", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, errs, status := run(t, c, tt.cmd)
			if out != tt.stdout || status != tt.status || !strings.Contains(errs, tt.stderr) || (tt.stderr == "" && errs != "") {
				t.Errorf("stdout %q, stderr %q, status %d; want %q, %q, %d", out, errs, status, tt.stdout, tt.stderr, tt.status)
			}
		})
	}
}

func TestExecDefaultEnvironment(t *testing.T) {
	out, _, _ := run(t, connect(t), agent.Command{Args: []string{"env"}})
	want := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh"}
	for _, kv := range want {
		if !strings.Contains(out, kv+"\n") {
			t.Errorf("no %s in:\n%s", kv, out)
		}
	}
	if strings.Contains(out, "TERM=") {
		t.Error("TERM without a terminal")
	}
}

func TestExecRefused(t *testing.T) {
	c := connect(t)
	for _, cmd := range []agent.Command{
		{},
		{Args: []string{"a\x00b"}},
		{Args: []string{"true"}, Env: []string{"novalue"}},
		{Args: []string{"true"}, Dir: "relative"},
		{Args: []string{"true", strings.Repeat("x", agentproto.MaxExec)}},
	} {
		if _, err := c.Exec(t.Context(), cmd); err == nil {
			t.Errorf("Exec(%.40v) succeeded", cmd)
		}
	}
	p, err := c.Exec(t.Context(), agent.Command{Args: []string{"true"}, User: "no-such-user"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "no-such-user") {
		t.Errorf("unknown user: %v", err)
	}
	if out, _, _ := run(t, c, sh("echo still here")); out != "still here\n" {
		t.Error("the connection did not survive refused commands")
	}
}

func TestStdin(t *testing.T) {
	c := connect(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 3*agentproto.Window/16) // several windows
	cmd := agent.Command{Args: []string{"cat"}, Stdin: bytes.NewReader(big)}
	if out, _, status := run(t, c, cmd); out != string(big) || status != 0 {
		t.Errorf("cat returned %d bytes, status %d", len(out), status)
	}
	// A command that does not read its input, and one that stops reading.
	for _, script := range []string{"exit 3", "head -c 1 >/dev/null; exit 3", "exec <&-; sleep 0.1; exit 3"} {
		cmd := sh(script)
		cmd.Stdin = bytes.NewReader(big)
		if _, _, status := run(t, c, cmd); status != 3 {
			t.Errorf("%q: status %d", script, status)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestBrokenStreams(t *testing.T) {
	c := connect(t)
	broken := errors.New("broken")
	in, out := sh("sleep 1000"), sh("echo x; sleep 1000")
	in.Stdin = failing{broken}
	out.Stdout = failing{broken}
	for _, cmd := range []agent.Command{in, out} {
		p, err := c.Exec(t.Context(), cmd)
		if err != nil {
			t.Fatal(err)
		}
		if status, err := p.Wait(); !errors.Is(err, broken) || status != -1 {
			t.Errorf("status %d, error %v", status, err)
		}
	}
}

func TestSignal(t *testing.T) {
	c := connect(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGUSR1} {
		// At once: the signal may come before the process is there.
		p, err := c.Exec(t.Context(), agent.Command{Args: []string{"sleep", "1000"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if status, err := p.Wait(); status != 128+int(sig) || err != nil {
			t.Errorf("after %v: status %d, %v", sig, status, err)
		}
		if err := p.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("signal after the end: %v", err)
		}
	}
	p, err := c.Exec(t.Context(), sh("exit 0"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Signal(0) == nil || p.Signal(65) == nil {
		t.Error("signals out of range were sent")
	}
	p.Wait()
}

func TestBackgroundHoldsPipe(t *testing.T) {
	c := connect(t)
	start := time.Now()
	// The sleeping process has the pipe open; yes would fill it for ever.
	for _, script := range []string{"sleep 1000 & echo $!; exit 5", "yes >&2 & echo $!; exit 5"} {
		out, _, status := run(t, c, sh(script))
		if status != 5 || out == "" {
			t.Errorf("%q: output %q, status %d", script, out, status)
		}
		if _, _, status := run(t, c, sh("kill "+strings.TrimSpace(out))); status != 0 && strings.HasPrefix(script, "sleep") {
			t.Error("the background process did not live on")
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestDrainAll: what the command itself wrote arrives whole, however slowly it
// is taken and whoever else holds the pipe.
func TestDrainAll(t *testing.T) {
	c := connect(t)
	r, w := io.Pipe()
	cmd := sh("sleep 1000 & head -c 60000 /dev/zero; echo $! >&2")
	var pid bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &pid
	p, err := c.Exec(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	var got int64
	var reading sync.WaitGroup
	reading.Go(func() { got, _ = io.Copy(io.Discard, r) })
	status, err := p.Wait()
	w.Close()
	reading.Wait()
	if got != 60000 || status != 0 || err != nil {
		t.Errorf("%d bytes, status %d, %v", got, status, err)
	}
	run(t, c, sh("kill "+pid.String()))
}

func TestContextEndsCommand(t *testing.T) {
	g := startGuest(t)
	c := g.connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	cmd := sh("trap '' HUP; echo $$; while :; do sleep 0.05; done") // only SIGKILL helps
	cmd.Stdout = w
	p, err := c.Exec(ctx, cmd)
	if err != nil {
		t.Fatal(err)
	}
	pid := readPid(t, r)
	cancel()
	if status, err := p.Wait(); !errors.Is(err, context.Canceled) || status != -1 {
		t.Errorf("status %d, %v", status, err)
	}
	waitGone(t, pid)
	if _, err := c.Hello(t.Context()); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}

func TestLostConnectionEndsCommands(t *testing.T) {
	g := startGuest(t)
	c := g.connect(t)
	var pids []int
	for _, script := range []string{"echo $$; exec sleep 1000", "trap '' HUP; echo $$; while :; do sleep 0.05; done", "echo $$; exec yes >&2"} {
		r, w := io.Pipe()
		cmd := sh(script)
		cmd.Stdout = w
		if strings.Contains(script, "yes") {
			cmd.Stderr = stuck{t.Context()}
		}
		if _, err := c.Exec(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, readPid(t, r))
	}
	c.Abandon() // closes the socket, and nothing else: as a killed client would
	for _, pid := range pids {
		waitGone(t, pid)
	}
}
