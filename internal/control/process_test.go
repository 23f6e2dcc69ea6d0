package control

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

func TestProcess(t *testing.T) {
	r := testRegistry(t)
	vm := spawnVM(t, r, "web")
	info, err := r.Find("web")
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.OpenProcess(info)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := p.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a live VM: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if alive, err := r.Alive(info.ID); alive || err != nil {
		t.Errorf("after Wait: alive %v, %v", alive, err)
	}
	vm.cmd.Wait()
	if err := p.Kill(); err != nil {
		t.Errorf("killing the dead: %v", err)
	}
	if _, err := r.OpenProcess(info); !errors.Is(err, ErrGone) {
		t.Errorf("opening the dead: %v", err)
	}
}

// A dead VM whose PID is now another process's: that process is not opened.
func TestProcessOfReusedPID(t *testing.T) {
	r := testRegistry(t)
	if _, err := r.OpenProcess(Info{ID: "0123456789ab", PID: os.Getpid()}); !errors.Is(err, ErrGone) {
		t.Errorf("opened a stranger: %v", err)
	}
}
