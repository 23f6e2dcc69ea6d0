package fork

import (
	"testing"

	"clone/internal/guestmem"

	"github.com/google/go-cmp/cmp"
)

func TestHotRoundTrip(t *testing.T) {
	list := []guestmem.Range{{Page: 0, Pages: 1}, {Page: 5, Pages: 3, Written: true}, {Page: 1 << 30, Pages: maxHotPages}}
	got, err := parseHot(formatHot(list), 1<<31)
	if err != nil || !cmp.Equal(got, list) {
		t.Errorf("%v %v", got, err)
	}
	long, err := parseHot(formatHot([]guestmem.Range{{Page: 7, Pages: maxHotPages + 2, Written: true}}), 1<<31)
	if err != nil || len(long) != 2 || long[1] != (guestmem.Range{Page: 7 + maxHotPages, Pages: 2, Written: true}) {
		t.Errorf("%v %v", long, err)
	}
}

func FuzzParseHot(f *testing.F) {
	f.Add(formatHot([]guestmem.Range{{Page: 3, Pages: 2, Written: true}}), uint64(100))
	f.Fuzz(func(t *testing.T, b []byte, pages uint64) {
		list, err := parseHot(b, pages)
		for _, r := range list {
			if err == nil && (r.Pages == 0 || r.Page >= pages || r.Page+r.Pages > pages) {
				t.Errorf("%+v of %d pages", r, pages)
			}
		}
	})
}
