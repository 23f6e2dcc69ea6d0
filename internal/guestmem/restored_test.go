package guestmem

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fileImage is the image in a file.
type fileImage struct{ *os.File }

func (f fileImage) ReadPage(p []byte, page uint64) (bool, error) {
	_, err := f.ReadAt(p, int64(page*PageSize))
	return true, err
}

// own lists the private pages.
func own(t *testing.T, m *Memory) (pages []uint64) {
	t.Helper()
	list, err := m.Touched()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		for i := range r.Pages {
			if r.Written {
				pages = append(pages, r.Page+i)
			}
		}
	}
	return pages
}

func TestGiveBack(t *testing.T) {
	t.Run("scanning", func(t *testing.T) { testGiveBack(t, false) })
	t.Run("reading the pagemap", func(t *testing.T) { testGiveBack(t, true) })
}

func testGiveBack(t *testing.T, old bool) {
	const pages = 64
	f := filled(t, pages, 7)
	m, err := MapPrivate(f, pages*PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := m.Compare(fileImage{f})
	c.regions = c.regions[:2] // more than one call for all
	if old {
		c.entries = make([]byte, 8*5)
	}
	set := func(page int, v byte) { m.regions[0].Host[page*PageSize] = v }
	for _, page := range []int{1, 2, 3, 10, 11, 12, 13, 63} {
		set(page, 9)
	}
	if list, err := c.Restored(t.Context(), pages, pages); len(list) != 0 || err != nil {
		t.Fatalf("%v, %v are as in the image", list, err)
	}
	for _, page := range []int{1, 2, 10, 11, 12, 13, 63} {
		set(page, 7)
	}
	list, err := c.Restored(t.Context(), pages, pages)
	want := []Range{{1, 2, true}, {10, 4, true}, {63, 1, true}}
	if diff := cmp.Diff(want, list); diff != "" || err != nil {
		t.Fatalf("%v\n%s", err, diff)
	}
	list = slices.Clone(list)
	if list, err := c.Restored(t.Context(), 7, pages); list != nil || err != nil {
		t.Errorf("of more own pages than asked for: %v, %v", list, err)
	}
	if some, err := c.Restored(t.Context(), pages, 3); err != nil || !cmp.Equal(some, []Range{{1, 2, true}, {10, 1, true}}) {
		t.Errorf("three of them: %v, %v", some, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if list, err := c.Restored(over, pages, pages); list != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("for nobody: %v, %v", list, err)
	}
	set(11, 8) // the guest has gone on
	if n, err := c.GiveBack(list); n != 6 || err != nil {
		t.Errorf("%d pages, %v", n, err)
	}
	if diff := cmp.Diff([]uint64{3, 11}, own(t, m)); diff != "" {
		t.Errorf("own pages:\n%s", diff)
	}
	for page, b := 0, m.regions[0].Host; page < pages; page++ {
		want := map[int]byte{3: 9, 11: 8}[page]
		if want == 0 {
			want = 7
		}
		if b[page*PageSize] != want {
			t.Errorf("page %d holds %d, not %d", page, b[page*PageSize], want)
		}
	}
}

// errImage cannot be read.
type errImage struct{}

func (errImage) ReadPage([]byte, uint64) (bool, error) { return true, os.ErrClosed }

func TestGiveBackWithoutTheImage(t *testing.T) {
	m, err := NewAnonymous(4 * PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.regions[0].Host[PageSize] = 1
	if list, err := m.Compare(errImage{}).Restored(t.Context(), 4, 4); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, %v", list, err)
	}
	if n, err := m.Compare(errImage{}).GiveBack([]Range{{1, 1, true}}); n != 0 || !errors.Is(err, os.ErrClosed) || m.regions[0].Host[PageSize] != 1 {
		t.Errorf("%d pages given back, %v", n, err)
	}
}

// A range may go on beyond the device hole.
func TestGiveBackAcrossTheHole(t *testing.T) {
	m, err := NewAnonymous(HoleStart + 4*PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const last = HoleStart/PageSize - 1
	m.regions[0].Host[last*PageSize], m.regions[1].Host[0] = 1, 1
	m.regions[0].Host[last*PageSize], m.regions[1].Host[0] = 0, 0
	list, err := m.Compare(zeros{true}).Restored(t.Context(), 4, 4)
	if diff := cmp.Diff([]Range{{last, 2, true}}, list); diff != "" || err != nil {
		t.Fatalf("%v\n%s", err, diff)
	}
	if list, err := m.Compare(zeros{false}).Restored(t.Context(), 4, 4); list != nil || err != nil {
		t.Errorf("where no file holds the zeros: %v, %v", list, err)
	}
	if n, err := m.Compare(zeros{true}).GiveBack(list); n != 2 || err != nil || len(own(t, m)) != 0 {
		t.Errorf("%d pages, %v; own: %d", n, err, len(own(t, m)))
	}
}

// zeros is an image of zeros that a file holds, or that none does.
type zeros struct{ shared bool }

func (z zeros) ReadPage(p []byte, _ uint64) (bool, error) {
	clear(p)
	return z.shared, nil
}

// A monitor compares for as long as its VM lives, and its garbage is memory that the VM costs.
func TestCompareMakesNoGarbage(t *testing.T) {
	m, err := MapPrivate(filled(t, 64, 7), 64*PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.regions[0].Host[0] = 7
	c := m.Compare(zeros{true})
	if n := testing.AllocsPerRun(20, func() {
		if _, err := c.Restored(t.Context(), 64, 64); err != nil {
			t.Fatal(err)
		}
	}); n > 12 {
		t.Errorf("%v objects for one look", n)
	}
}

// BenchmarkRestored looks at a guest of 256 MiB with 600 pages of its own among 2800 that it has touched.
func BenchmarkRestored(b *testing.B) {
	const pages = 256 << 20 / PageSize
	for _, old := range []bool{false, true} {
		b.Run(map[bool]string{false: "scanning", true: "reading the pagemap"}[old], func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "memory"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(pages * PageSize); err != nil {
				b.Fatal(err)
			}
			m, err := MapPrivate(f, pages*PageSize)
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			touched := byte(0)
			for i := range 2800 {
				p := m.regions[0].Host[i*(pages/2800)*PageSize:]
				if touched += p[0]; i%5 == 0 {
					p[0] = 1
				}
			}
			c := m.Compare(fileImage{f})
			if old {
				c.entries = make([]byte, pagemapBytes)
			}
			for b.Loop() {
				if _, err := c.Restored(b.Context(), pages, pages); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
