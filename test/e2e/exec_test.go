package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestExecStatus(t *testing.T) {
	h, vm := standingVM(t)
	for _, test := range []struct {
		args   []string
		status int
		out    string
		err    string
	}{
		{[]string{"--", "true"}, 0, "", ""},
		{[]string{"--", "false"}, 1, "", ""},
		{[]string{"--", "sh", "-c", "echo out; echo err >&2; exit 7"}, 7, "out\n", "err\n"},
		{[]string{"--", "/etc/passwd"}, 126, "", "permission denied"},
		{[]string{"--", "no-such-command"}, 127, "", "no-such-command"},
		{[]string{"--", "sh", "-c", "kill -9 $$"}, 137, "", ""},
		{[]string{"--", "sh", "-c", "kill $$"}, 143, "", ""},
		{[]string{"-w", "/usr/bin", "--", "pwd"}, 0, "/usr/bin\n", ""},
		{[]string{"-w", "/nowhere", "--", "pwd"}, 126, "", "working directory"},
		{[]string{"-e", "GREETING=hello world", "-e", "ONLY_HERE", "--", "sh", "-c", `echo "$GREETING|$ONLY_HERE|$HOME|$USER"`}, 0, "hello world||/root|root\n", ""},
		{[]string{"-u", "nobody", "--", "sh", "-c", "id -un; id -u; touch /etc/mine 2>/dev/null || echo refused"}, 0, "nobody\n65534\nrefused\n", ""},
		{[]string{"-u", "33:0", "--", "id"}, 0, "uid=33(www-data) gid=0(root)", ""},
		{[]string{"-u", "no-such-user", "--", "id"}, 125, "", "no user no-such-user in the guest"},
		{[]string{"--", "printf", "%s|", "a b", "", "*", "$HOME"}, 0, "a b||*|$HOME|", ""},
		{[]string{"--", "cat"}, 0, "", ""}, // the end of standard input is its end
		{[]string{vm, "--", "echo", "--", "-x"}, 0, "-- -x\n", ""},
		{[]string{"--vm-id", "other", "--", "true"}, 125, "", "clone: no such VM"},
		{[]string{}, 2, "", "clone: say what to run"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			r := h.run(limit, nil, append([]string{"exec"}, test.args...)...)
			same := r.out == test.out || test.out != "" && !strings.HasSuffix(test.out, "\n") && strings.HasPrefix(r.out, test.out)
			if r.status != test.status || !same || !strings.Contains(r.err, test.err) || test.err == "" && r.err != "" {
				t.Errorf("got status %d, %q, %q, want %d, %q, %q", r.status, r.out, r.err, test.status, test.out, test.err)
			}
		})
	}
}

func TestExecStreams(t *testing.T) {
	h, vm := standingVM(t)
	k := h.talk(t, "exec", "--vm-id", vm, "--", "sh", "-c", `echo first; read answer; echo "got $answer" >&2; exit 5`)
	k.expect(t, "first\n") // which comes although the command goes on
	k.enter(t, "this\n")
	k.expect(t, "got this\n")
	k.ended(t, 5)
}

// Bytes go both ways unchanged, whatever they are.
func TestExecData(t *testing.T) {
	h, vm := standingVM(t)
	data, err := io.ReadAll(noise(3<<20 + 1))
	if err != nil {
		t.Fatal(err)
	}
	r := h.run(limit, data, "exec", "--vm-id", vm, "--", "cat")
	if r.status != 0 || !bytes.Equal([]byte(r.out), data) {
		t.Errorf("cat: status %d, %d bytes of %d, %s", r.status, len(r.out), len(data), r.err)
	}
}

func TestExecTerminal(t *testing.T) {
	h, vm := standingVM(t)
	k, user := h.talkOnTerminal(t, "exec", "--vm-id", vm, "-t", "--", "sh", "-c",
		`tty; stty size; trap 'stty size; exit 9' WINCH; trap 'echo interrupted' INT; echo go; while :; do sleep 0.1; done`)
	k.expect(t, "/dev/pts/")
	k.expect(t, "24 80")
	k.expect(t, "go")
	k.enter(t, "\x03") // Ctrl-C
	k.expect(t, "interrupted")
	resize(t, user, 33, 99)
	k.expect(t, "33 99")
	k.ended(t, 9)
	if out := h.run(limit, nil, "exec", "--vm-id", vm, "--", "tty").out; strings.TrimSpace(out) != "not a tty" {
		t.Errorf("without -t, tty says %q", out)
	}
}

func TestExecManyAtOnce(t *testing.T) {
	h, vm := standingVM(t)
	var running sync.WaitGroup
	for i := range 20 {
		running.Go(func() {
			text := fmt.Sprintf("number %d", i)
			r := h.run(limit, []byte(text), "exec", "--vm-id", vm, "--", "sh", "-c", fmt.Sprintf("cat; exit %d", i))
			if r.status != i || r.out != text || r.err != "" {
				t.Errorf("command %d: %+v", i, r)
			}
		})
	}
	running.Wait()
}

// A command that prints without end to a reader that does not read, and one that never ends, disturb no other; a client
// that is killed takes its command with it.
func TestExecDisturbsNoOther(t *testing.T) {
	h, vm := standingVM(t)
	flood := h.command(context.Background(), "exec", "--vm-id", vm, "--", "sh", "-c", "yes flood-of-lines")
	out, err := flood.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := flood.Start(); err != nil {
		t.Fatal(err)
	}
	defer flood.Wait()
	defer flood.Process.Kill()
	if _, err := io.CopyN(io.Discard, out, 1<<20); err != nil {
		t.Fatal(err)
	}
	// From here on nobody reads.
	sleeper := h.talk(t, "exec", "--vm-id", vm, "--", "sh", "-c", "echo asleep; exec sleep 86399")
	sleeper.expect(t, "asleep")
	within(t, "ten commands beside a flood and a sleeper", 30*time.Second, func() {
		for range 10 {
			h.exec(t, vm, "true")
		}
	})
	if n, err := io.CopyN(io.Discard, out, 8<<20); err != nil {
		t.Errorf("the flood stopped after %d bytes: %v", n, err)
	}
	flood.Process.Kill()
	sleeper.cmd.Process.Kill()
	await(t, "the killed clients' commands have ended", func() bool {
		return h.run(limit, nil, "exec", "--vm-id", vm, "--", "pgrep", "-f", "^yes flood|^sleep 86399").status == 1
	})
}

func TestExecPrintsMuch(t *testing.T) {
	h, vm := standingVM(t)
	const size = 16 << 20
	cmd := h.command(context.Background(), "exec", "--vm-id", vm, "--", "head", "-c", fmt.Sprint(size), "/dev/zero")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, out)
	if wait := cmd.Wait(); err != nil || wait != nil || n != size {
		t.Errorf("%d bytes of %d: %v, %v", n, size, err, wait)
	}
}

// A signal to clone exec is one to the command.
func TestExecPassesSignals(t *testing.T) {
	h, vm := standingVM(t)
	k := h.talk(t, "exec", "--vm-id", vm, "--", "sh", "-c", `trap 'echo told; exit 4' TERM; echo go; while :; do sleep 0.1; done`)
	k.expect(t, "go")
	if err := k.cmd.Cancel(); err != nil { // SIGTERM
		t.Fatal(err)
	}
	k.expect(t, "told")
	k.ended(t, 4)
}
