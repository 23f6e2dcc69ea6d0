package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"clone/internal/control"

	"golang.org/x/sys/unix"
)

// printKernelLog is the guest's program that prints what the kernel said.
func printKernelLog([]string) error {
	b := make([]byte, 1<<20)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, b)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b[:n])
	return err
}

// TestLongPause: a guest that is paused for longer than its watchdog waits is told so when it goes on, and does not complain.
// Its forks are right meanwhile.
func TestLongPause(t *testing.T) {
	const thresh = 2 // seconds; the watchdog waits twice as long
	h := newHost(t)
	vm := h.bootSmall(t, "--vcpus", "2")
	h.exec(t, vm, "sh", "-c", fmt.Sprintf("echo %d >/proc/sys/kernel/watchdog_thresh", thresh))
	c := h.controlOf(vm)
	if err := c.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state := h.infoOf(t, vm).State; state != control.Paused {
		t.Errorf("a paused VM is %s", state)
	}
	h.fails(t, "the VM is paused", "snapshot", "--vm-id", vm, "--name", "x", "--settle=1s")
	h.snapshot(t, vm, "paused")
	time.Sleep(4 * thresh * time.Second)
	h.checkClock(t, h.fork(t, "paused")) // which nobody could measure when the snapshot was taken
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state := h.infoOf(t, vm).State; state != control.Running {
		t.Errorf("a VM that goes on is %s", state)
	}
	time.Sleep(2 * thresh * time.Second) // for the watchdog to look
	if log := h.exec(t, vm, "/guestprog", "log"); strings.Contains(log, "lockup") || strings.Contains(log, "stall") {
		t.Errorf("the guest's kernel says:\n%s", log)
	}
}
