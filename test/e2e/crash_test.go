package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killVM kills the process of the only VM with SIGKILL, as soon as there is one.
func (h *host) killVM(t *testing.T) {
	t.Helper()
	var list []vmLine
	await(t, "there is a VM", func() bool {
		list = parse[[]vmLine](t, h.ok(t, "list", "--json"))
		return len(list) == 1
	})
	if err := syscall.Kill(list[0].PID, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		t.Fatal(err)
	}
}

// allGone checks that the next command finds no VM, and that nothing is left after it.
func (h *host) allGone(t *testing.T) {
	t.Helper()
	await(t, "the killed process is gone", func() bool { return h.ok(t, "list", "--json") == "[]" })
	h.nothingLeft(t)
	h.ok(t, "template", "list")
	entries, err := os.ReadDir(filepath.Join(h.dir, "home", "templates"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".aside") {
			t.Errorf("left behind in the store: %s", e.Name())
		}
	}
}

// A VM that is killed at whatever moment takes nothing with it that was there before.
func TestKilledAtAnyMoment(t *testing.T) {
	h := newHost(t)
	img, err := smallImage()
	if err != nil {
		t.Fatal(err)
	}
	before := fileSum(t, img)

	for i := range 4 { // while it boots
		k := h.talk(t, small(t, "--detach", "--name", "booting")...)
		await(t, "there is a VM", func() bool { return h.ok(t, "list", "--json") != "[]" })
		select { // at another moment each time
		case <-k.over:
		case <-time.After(time.Duration(i) * 400 * time.Millisecond):
		}
		h.killVM(t)
		k.ended(t, 1)
		if !strings.Contains(k.shown(), "clone: ") || strings.Contains(k.shown(), "panic") {
			t.Errorf("killed while it booted: %s", k.shown())
		}
		h.allGone(t)
	}

	vm := h.bootSmall(t, "--name", "source") // the name is free again, in the case of "booting" too
	h.ok(t, "snapshot", "--name", "kept")

	// In the middle of a snapshot, of commands and of a console.
	command := h.talk(t, "exec", "--vm-id", vm, "--", "sh", "-c", "echo busy; while :; do :; done")
	command.expect(t, "busy")
	console := h.talk(t, "attach", vm)
	console.expect(t, "Ctrl-Q")
	snapshot := h.talk(t, "snapshot", "--name", "lost")
	await(t, "the snapshot is being written", func() bool {
		aside, _ := filepath.Glob(filepath.Join(h.dir, "home", "templates", ".aside*", "*"))
		return len(aside) > 0 || !strings.Contains(h.ok(t, "list"), vm)
	})
	h.killVM(t)
	snapshot.ended(t, 1)
	snapshot.expect(t, "its process ended during the call")
	command.ended(t, 125)
	command.expect(t, "it ended while the command ran")
	console.ended(t, 0)
	console.expect(t, "has ended")
	h.allGone(t)
	if names := parse[[]struct{ Name string }](t, h.ok(t, "template", "list", "--json")); fmt.Sprint(names) != "[{kept}]" {
		t.Errorf("templates: %v", names)
	}

	for i := range 4 { // while it forks, and after it
		k := h.talk(t, "fork", "--template", "kept", "--detach", "--name", "fork")
		await(t, "there is a VM", func() bool { return h.ok(t, "list", "--json") != "[]" })
		select {
		case <-k.over:
		case <-time.After(time.Duration(i) * 100 * time.Millisecond):
		}
		h.killVM(t)
		<-k.over
		h.allGone(t)
	}
	h.ok(t, "template", "verify", "kept")
	vm = h.fork(t, "kept", "--name", "fork")
	h.exec(t, vm, "sh", "-c", ":")
	if fileSum(t, img) != before {
		t.Error("the image was changed")
	}
}
