package main

import (
	"bufio"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipeReport is a report with its reader.
func pipeReport(t *testing.T) (*report, *os.File) {
	t.Helper()
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	fd, err := unix.Dup(int(theirs.Fd())) // a descriptor that the runtime knows nothing of, as an inherited one
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	_ = unix.SetNonblock(fd, true)
	return &report{f: os.NewFile(uintptr(fd), "report")}, ours
}

// Whoever reads the report hangs up as soon as it has read it, which must not look as if it had died.
func TestReaderThatHangsUp(t *testing.T) {
	for range 300 {
		r, ours := pipeReport(t)
		ended := make(chan struct{})
		r.abandoned(func() { close(ended) })
		go func() {
			_, _ = bufio.NewReader(ours).ReadString('\n')
			ours.Close()
		}()
		if err := r.say("ready x"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			t.Fatal("a VM that is ready was ended")
		case <-time.After(100 * time.Microsecond):
		}
	}
}

func TestReaderThatDies(t *testing.T) {
	r, ours := pipeReport(t)
	ended := make(chan struct{})
	r.abandoned(func() { close(ended) })
	ours.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the VM was not told")
	}
	if err := r.say("ready x"); err == nil {
		t.Error("told to nobody")
	}
}
