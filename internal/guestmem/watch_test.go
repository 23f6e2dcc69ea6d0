package guestmem

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestWatch: while memory over an image is watched, what was touched is what Touched tells, page by page.
func TestWatch(t *testing.T) {
	m := mapped(t, 256)
	stop, err := m.Watch()
	if errors.Is(err, unix.EINVAL) {
		t.Log("this kernel is older than 6.7, which is no failure of ours: it has no way to watch")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	b := m.Regions()[0].Host
	if b[33*PageSize] != 33 || b[34*PageSize] != 34 || b[100*PageSize] != 100 {
		t.Error("the image is not there")
	}
	b[200*PageSize]++
	b[100*PageSize]++
	want := []Range{{33, 2, false}, {100, 1, true}, {200, 1, true}}
	got, err := m.Touched()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	stop()
	if b[150*PageSize] != 150 {
		t.Error("the image is gone")
	}
	if got, err = m.Touched(); err != nil || len(got) < 4 || got[len(got)-1].Page > 200 {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}
