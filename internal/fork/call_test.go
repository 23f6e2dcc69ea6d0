package fork_test

import (
	"io"
	"math"
	"testing"

	"clone/internal/fork"
	"clone/internal/guestmem"
	"clone/internal/vmm"
)

// TestCallsHaveANoteOfTheirOwn: what a call touched until its command answered is there for the next call, and for no
// fork that only becomes ready.
func TestCallsHaveANoteOfTheirOwn(t *testing.T) {
	s := newStore(t)
	m := boot(t)
	awaitCounting(t, m, 0)
	store(t, s, m, "base", nil, nil)

	pageOfCalls := uint64(0x300000) / guestmem.PageSize
	run := func(opts fork.Options) (touched bool) {
		t.Helper()
		src, err := fork.Open(s, "base", opts)
		must(t, err)
		defer src.Close()
		f, err := src.Machine(vmm.Host{Console: io.Discard})
		must(t, err)
		defer f.Close()
		must(t, src.Warm(f, math.MaxUint64))
		list, err := f.Memory().Touched()
		must(t, err)
		for _, r := range list {
			touched = touched || r.Written && pageOfCalls >= r.Page && pageOfCalls < r.Page+r.Pages
		}
		if opts.Call { // its command
			must(t, f.Memory().WriteAt([]byte{1}, pageOfCalls*guestmem.PageSize))
		}
		must(t, src.NoteHot(f))
		return touched
	}
	for _, step := range []struct {
		what string
		call bool
		want bool
	}{
		{"a fork", false, false},
		{"the first call", true, false},
		{"the next fork", false, false},
		{"the next call", true, true},
	} {
		if got := run(fork.Options{Call: step.call}); got != step.want {
			t.Errorf("%s maps the page of calls: %v, want %v", step.what, got, step.want)
		}
	}
}
