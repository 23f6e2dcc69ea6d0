package vmm

import (
	"testing"

	"clone/internal/guestmem"

	"github.com/google/go-cmp/cmp"
)

func TestCut(t *testing.T) {
	list := []guestmem.Range{{Page: 1, Pages: 3}, {Page: 8, Pages: 2}, {Page: 20, Pages: 7}}
	var got [][]guestmem.Range
	for len(list) > 0 {
		var first []guestmem.Range
		first, list = cut(list, 5)
		got = append(got, first)
	}
	want := [][]guestmem.Range{{{Page: 1, Pages: 3}, {Page: 8, Pages: 2}}, {{Page: 20, Pages: 5}}, {{Page: 25, Pages: 2}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if first, rest := cut(nil, 5); first != nil || rest != nil {
		t.Errorf("of nothing: %v, %v", first, rest)
	}
}
