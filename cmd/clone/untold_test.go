package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeHome is a CLONE_HOME for fakeforks. Processes that a test leaves there are killed.
func fakeHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("CLONE_HOME", home)
	t.Setenv("CLONE_RUNTIME_DIR", filepath.Join(home, "run"))
	t.Cleanup(func() {
		for _, id := range alive(t, home) {
			pid, _ := strconv.Atoi(id)
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
	return home
}

// alive is the ids of fakeforks' VMs.
func alive(t *testing.T, home string) (ids []string) {
	t.Helper()
	files, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, err := strconv.Atoi(f.Name()); err == nil {
			ids = append(ids, f.Name())
		}
	}
	return ids
}

// A VM that is ready, and whose id cannot be printed, is nobody's: it is ended, and no other is started.
func TestIDThatCannotBePrinted(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	r, closed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	r.Close()
	for name, test := range map[string]struct {
		out  *os.File
		args []string
		why  string
	}{
		"detached, disk full": {full, nil, "no space left on device"},
		"detached, no reader": {closed, nil, "broken pipe"},
		"count, disk full":    {full, []string{"100"}, "no space left on device"},
		"count, no reader":    {closed, []string{"100"}, "broken pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			home := fakeHome(t)
			cmd := exec.Command("fakeforks", test.args...)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = test.out, &said
			_ = cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != 1 {
				t.Errorf("exit status %d", got)
			}
			if !strings.Contains(said.String(), test.why) {
				t.Errorf("it does not say %q", test.why)
			}
			if test.args != nil {
				for _, want := range []string{"0 of 100 forks ready in ", " failed\n", "so no more forks were started; the 0 whose"} {
					if !strings.Contains(said.String(), want) {
						t.Errorf("it does not say %q", want)
					}
				}
				if n := strings.Count(said.String(), "its id cannot be printed"); n > 10 {
					t.Errorf("%d were started all the same", n)
				}
			}
			if left := alive(t, home); left != nil {
				t.Errorf("left running: %v", left)
			}
			if t.Failed() {
				t.Log(said.String())
			}
		})
	}
}

// Those whose ids were printed go on when the reader has had enough, as head(1) has.
func TestReaderThatHasEnough(t *testing.T) {
	home := fakeHome(t)
	gate := filepath.Join(home, "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("fakeforks", "20", "web")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	first, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	open, err := os.OpenFile(gate, os.O_RDWR, 0) // the others become ready
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 1 {
		t.Errorf("exit status %d", got)
	}
	for _, want := range []string{"1 of 20 forks ready in ", "broken pipe", "the 1 whose ids were printed go on"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if left := alive(t, home); !slices.Equal(left, []string{strings.TrimSpace(first)}) {
		t.Errorf("left running: %v; printed: %q", left, first)
	}
	if t.Failed() {
		t.Log(said.String())
	}
}
