package e2e

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// roundOf makes so many MiB with the pattern of a round.
func roundOf(mib, round string) ([]byte, error) {
	mem, err := takeMemory(mib)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(round)
	if err == nil {
		fill(mem, n)
	}
	return mem, err
}

// rewriteFile is the guest's program that writes so many MiB of a file anew, with the pattern of a round.
func rewriteFile(args []string) error {
	mem, err := roundOf(args[1], args[2])
	if err != nil {
		return err
	}
	f, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(mem, 0); err != nil {
		return err
	}
	return f.Close()
}

// checkFile is the program that says whether the file has that pattern.
func checkFile(args []string) error {
	want, err := roundOf(args[1], args[2])
	if err != nil {
		return err
	}
	got, err := os.ReadFile(args[0])
	if err == nil && string(got) != string(want) {
		err = fmt.Errorf("%s has another pattern than that of round %s", args[0], args[2])
	}
	return err
}

// TestGiveBack has a fork change a file in memory, and change it back: then it costs what it did before. It fails when the
// monitor keeps what the guest does not need as its own any more.
func TestGiveBack(t *testing.T) {
	h := newHost(t)
	vm := h.bootSmall(t)
	const mib = 2 // as much as is given back at one look
	rewrite := func(vm string, round int) {
		t.Helper()
		h.exec(t, vm, "/guestprog", "rewrite", "/file", fmt.Sprint(mib), fmt.Sprint(round))
	}
	check := func(vm string, round int) {
		t.Helper()
		h.exec(t, vm, "/guestprog", "checkfile", "/file", fmt.Sprint(mib), fmt.Sprint(round))
	}
	rewrite(vm, 0)
	h.ok(t, "snapshot", "--vm-id", vm, "--name", "small", "--settle")
	f := h.fork(t, "small")
	private := func() int {
		t.Helper()
		return parse[vmLine](t, h.ok(t, "status", "--json", f)).Memory.Guest.Private
	}
	rewrite(f, 1)
	changed := private()
	if changed < mib<<20 {
		t.Fatalf("a fork that changed %d MiB has %d bytes of its own", mib, changed)
	}
	rewrite(f, 0)
	// Of the file alone: the programs that wrote it have had other pages.
	await(t, "the fork gives the file's pages back", func() bool { return private() <= changed-(mib-1)<<20 })
	t.Logf("%d KiB after %d KiB", private()>>10, changed>>10)
	check(f, 0)
	rewrite(f, 2)
	check(f, 2)
	check(h.fork(t, "small"), 0)
}
