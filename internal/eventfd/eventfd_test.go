package eventfd

import (
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEvent(t *testing.T) *Event {
	t.Helper()
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// waits starts one Wait and returns where its answer comes.
func waits(e *Event) <-chan bool {
	answer := make(chan bool, 1)
	go func() { answer <- e.Wait() }()
	return answer
}

func TestSignalWakes(t *testing.T) {
	e := newEvent(t)
	for range 3 {
		answer := waits(e)
		e.Signal()
		if !<-answer {
			t.Fatal("a signalled event does not wake its waiter")
		}
	}
}

// TestSignalsAddUp checks that one Wait takes all signals that came before.
func TestSignalsAddUp(t *testing.T) {
	e := newEvent(t)
	e.Signal()
	e.Signal()
	if !e.Wait() {
		t.Fatal("no wake-up")
	}
	answer := waits(e)
	e.Interrupt()
	if <-answer {
		t.Error("a second wake-up for signals that were taken")
	}
}

func TestFullCounterDoesNotBlock(t *testing.T) {
	e := newEvent(t)
	full := []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} // the highest count an eventfd holds
	if _, err := unix.Write(e.FD(), full); err != nil {
		t.Fatal(err)
	}
	e.Signal()
	if !e.Wait() {
		t.Error("no wake-up")
	}
}

// TestInterrupt checks that a signal outlives an interruption, however many waits fail in between.
func TestInterrupt(t *testing.T) {
	e := newEvent(t)
	answer := waits(e)
	e.Interrupt()
	if <-answer || !e.Interrupted() {
		t.Error("an interrupted wait reports a signal")
	}
	e.Signal()
	for range 2 {
		if e.Wait() {
			t.Error("a wait after Interrupt reports a signal")
		}
	}
	e.Rearm()
	if e.Interrupted() {
		t.Error("interrupted after Rearm")
	}
	if !e.Wait() {
		t.Error("the signal was lost")
	}
}

// TestKernelSide reads and writes the descriptor as KVM does.
func TestKernelSide(t *testing.T) {
	e := newEvent(t)
	one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	answer := waits(e)
	if _, err := unix.Write(e.FD(), one); err != nil {
		t.Fatal(err)
	}
	if !<-answer {
		t.Error("a write to the descriptor does not wake the waiter")
	}
	e.Signal()
	b := make([]byte, 8)
	if n, err := unix.Read(e.FD(), b); n != 8 || err != nil || b[0] != 1 {
		t.Errorf("read %d, % x, %v", n, b, err)
	}
}

// TestClose checks that a closed event wakes its waiter, and that a late Signal does not reach whoever has the
// descriptor's number next.
func TestClose(t *testing.T) {
	e := newEvent(t)
	answer := waits(e)
	number := e.FD()
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if <-answer {
		t.Error("a closed event reports a signal")
	}
	heir, err := unix.FcntlInt(uintptr(newEvent(t).FD()), unix.F_DUPFD_CLOEXEC, number)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(heir)
	e.Signal()
	b := make([]byte, 8)
	if _, err := unix.Read(number, b); err != unix.EAGAIN {
		t.Errorf("descriptor %d was signalled after its event was closed: % x, %v", number, b, err)
	}
}

func TestConcurrentSignalAndClose(t *testing.T) {
	e := newEvent(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				e.Signal()
			}
		})
	}
	all.Go(func() {
		for e.Wait() {
		}
	})
	all.Go(func() { _ = e.Close() })
	all.Wait()
}
