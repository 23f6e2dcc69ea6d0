package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"testing"
	"time"

	"clone/internal/testhost"

	"github.com/google/go-cmp/cmp"
)

func TestParseRun(t *testing.T) {
	got, err := parseRun([]string{
		"--mem", "8192", "--timeout", "90s", "--writable", "/a", "--writable", "/b", "--env", "A=1", "--env", "B=2",
		"--qemu-arg", "-device", "--qemu-arg", "nvme", "--emulated", "--", "sh", "-c", "exit 7", "--mem",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if got.Stdout != os.Stdout || got.Stderr != os.Stderr || got.Stdin != nil || got.Log == nil {
		t.Error("wrong streams")
	}
	got.Stdout, got.Stderr, got.Log = nil, nil, nil
	want := testhost.Config{
		Command: []string{"sh", "-c", "exit 7", "--mem"}, MemoryMiB: 8192, Timeout: 90 * time.Second, Emulated: true,
		Writable: []string{"/a", "/b"}, Env: []string{"A=1", "B=2"}, QEMUArgs: []string{"-device", "nvme"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := parseRun([]string{"--stdin", "--", "cat"}, io.Discard); err != nil || got.Stdin != os.Stdin {
		t.Errorf("--stdin: %v, %v", got.Stdin, err)
	}
	if _, err := parseRun([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	for _, args := range [][]string{nil, {"--"}, {"--mem", "1"}, {"--mem", "much", "--", "true"}, {"--no-such-flag", "true"}} {
		if _, err := parseRun(args, io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestDispatchUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"no-such-command"}, {"run"}, {"kernel", "extra"}} {
		if got := dispatch(t.Context(), args); got != exitUsage {
			t.Errorf("%q: exit status %d, want %d", args, got, exitUsage)
		}
	}
}
