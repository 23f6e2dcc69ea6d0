package main

import (
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"clone/internal/control"
)

// outcome runs clone to its end, or until signal is sent when there is a VM, and returns its exit status and what it said on
// standard error.
func (k *killer) outcome(signal syscall.Signal, args ...string) (status int, said string) {
	k.t.Helper()
	cmd := exec.Command("clone", args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	if signal != 0 {
		k.appears("????????????/control.sock")
		if err := cmd.Process.Signal(signal); err != nil {
			k.t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	if out.Len() > 0 {
		k.t.Errorf("%v: printed %q", args, out.String())
	}
	return cmd.ProcessState.ExitCode(), err.String()
}

// Forks that never become ready: started side by side, or for a function call, and given up in all the ways there are.
// Nothing of them is left, without a prune.
func TestForksThatAreNeverReady(t *testing.T) {
	k := newKiller(t)
	for name, test := range map[string]struct {
		signal syscall.Signal
		args   string
		status int
		says   []string
	}{
		"late":             {0, "--count 3 --ready-timeout 100ms", 1, []string{"clone: fork 1: ", "clone: fork 3: ", "0 of 3 forks ready in ", "; 3 failed"}},
		"one":              {0, "--count 1 --name web --ready-timeout 100ms", 1, []string{"clone: fork web-1: "}},
		"interrupted":      {syscall.SIGINT, "--count 50 --parallel 3", 130, []string{"0 of 50 forks ready", "interrupted: what was starting was ended"}},
		"terminated":       {syscall.SIGTERM, "--count 2", 130, []string{"interrupted"}},
		"detached":         {syscall.SIGINT, "--detach", 130, []string{"interrupted"}},
		"late call":        {0, "--ready-timeout 100ms -- true", 125, []string{"agent did not answer"}},
		"interrupted call": {syscall.SIGINT, "-- true", 130, []string{"interrupted before the command ran"}},
		"terminated call":  {syscall.SIGTERM, "-i -- true", 143, []string{"interrupted before the command ran"}},
		"killed call":      {syscall.SIGKILL, "-- true", -1, nil},
		"usage":            {0, "true", 2, []string{`unexpected argument "true": a command follows --`}},
		"usage 1":          {0, "true -- true", 2, []string{"a command follows --"}},
		"usage 2":          {0, "--", 2, []string{"say what to run"}},
		"usage 3":          {0, "--detach -- true", 2, []string{"excludes"}},
		"usage 4":          {0, "--count 2 -- true", 2, []string{"excludes"}},
		"usage 5":          {0, "-e A=b", 2, []string{"are for a command"}},
		"usage 6":          {0, "--count 0", 2, []string{"--count is 1 to"}},
		"usage 7":          {0, "--count 2 --parallel 0", 2, []string{"--parallel is 1 to"}},
		"bad name":         {0, "--count 2 --name -x", 1, []string{"invalid VM name", "nothing was started"}},
		"writable":         {0, "--count 2 --block x.img", 1, []string{"x.img: a disk that is written to is one VM's alone"}},
	} {
		t.Run(name, func(t *testing.T) {
			k.t = t
			status, said := k.outcome(test.signal, append([]string{"fork", "--template", "halted"}, strings.Fields(test.args)...)...)
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			for _, want := range test.says {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q", want)
				}
			}
			if t.Failed() {
				t.Log(said)
			}
			if test.signal != syscall.SIGKILL {
				if p, err := k.registry.Prune(); err != nil || len(p.VMs)+len(p.Names) != 0 {
					t.Errorf("left behind: %+v, %v", p, err)
				}
			}
			k.noProcess()
			k.clean(name)
		})
	}
	k.t = t
	k.unharmed()
}

// A detached guest that does not answer may say on its console why: nobody saw that, so the message and the record have it.
func TestConsoleOfAGuestThatDoesNotAnswer(t *testing.T) {
	k := newKiller(t)
	talking := []byte{ // 1: mov $0x3f8, %dx; mov $'x', %al; out %al, %dx; mov $'\n', %al; out %al, %dx; jmp 1b
		0x66, 0xba, 0xf8, 0x03, 0xb0, 'x', 0xee, 0xb0, '\n', 0xee, 0xeb, 0xf4,
	}
	if err := saveGuest(k.home, "talking", talking); err != nil {
		t.Fatal(err)
	}
	status, said := k.outcome(0, "fork", "--template", "talking", "--detach", "--ready-timeout", "500ms")
	if status != 1 || !strings.Contains(said, "agent did not answer") || !strings.HasSuffix(said, "; on its console: x\n") {
		t.Errorf("status %d: %s", status, said)
	}
	all, err := k.registry.Ended()
	if err != nil || len(all) != 1 || !strings.Contains(all[0].Console, "x\nx\n") {
		t.Errorf("recorded: %+v, %v", all, err)
	}
}

func TestCountRefusesTakenNames(t *testing.T) {
	k := newKiller(t)
	d, err := k.registry.Create(control.Info{Name: "web-7"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	status, said := k.outcome(0, "fork", "--template", "halted", "--count", "9", "--name", "web")
	if status != 1 || !strings.Contains(said, `name is taken: "web-7"`) || !strings.Contains(said, "nothing was started") {
		t.Errorf("status %d: %s", status, said)
	}
}

func TestPercentile(t *testing.T) {
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(i+1)*time.Millisecond)
	}
	for p, want := range map[int]time.Duration{0: 1, 50: 100, 99: 198, 100: 200} {
		if got := percentile(took, p); got != want*time.Millisecond {
			t.Errorf("p%d of 1..200 ms: %v", p, got)
		}
	}
	if got := percentile(took[:1], 99); got != time.Millisecond {
		t.Errorf("p99 of one: %v", got)
	}
}
