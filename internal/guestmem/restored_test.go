package guestmem

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fileImage is the image in a file.
type fileImage struct{ *os.File }

func (f fileImage) ReadPages(p []byte, first uint64) error {
	_, err := f.ReadAt(p, int64(first*PageSize))
	return err
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
	const pages = 64
	f := filled(t, pages, 7)
	m, err := MapPrivate(f, pages*PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	image := fileImage{f}
	set := func(page int, v byte) { m.regions[0].Host[page*PageSize] = v }
	for _, page := range []int{1, 2, 3, 10, 11, 12, 13, 63} {
		set(page, 9)
	}
	if list, err := m.Restored(image, pages); len(list) != 0 || err != nil {
		t.Fatalf("%v, %v are as in the image", list, err)
	}
	for _, page := range []int{1, 2, 10, 11, 12, 13, 63} {
		set(page, 7)
	}
	list, err := m.Restored(image, pages)
	want := []Range{{1, 2, true}, {10, 4, true}, {63, 1, true}}
	if diff := cmp.Diff(want, list); diff != "" || err != nil {
		t.Fatalf("%v\n%s", err, diff)
	}
	if list, err := m.Restored(image, 7); list != nil || err != nil {
		t.Errorf("of more own pages than asked for: %v, %v", list, err)
	}
	set(11, 8) // the guest has gone on
	if n, err := m.GiveBack(image, list); n != 6 || err != nil {
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

func (errImage) ReadPages([]byte, uint64) error { return os.ErrClosed }

func TestGiveBackWithoutTheImage(t *testing.T) {
	m, err := NewAnonymous(4 * PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.regions[0].Host[PageSize] = 1
	if list, err := m.Restored(errImage{}, 4); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, %v", list, err)
	}
	if n, err := m.GiveBack(errImage{}, []Range{{1, 1, true}}); n != 0 || !errors.Is(err, os.ErrClosed) || m.regions[0].Host[PageSize] != 1 {
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
	list, err := m.Restored(zeros{}, 4)
	if diff := cmp.Diff([]Range{{last, 2, true}}, list); diff != "" || err != nil {
		t.Fatalf("%v\n%s", err, diff)
	}
	if n, err := m.GiveBack(zeros{}, list); n != 2 || err != nil || len(own(t, m)) != 0 {
		t.Errorf("%d pages, %v; own: %d", n, err, len(own(t, m)))
	}
}

// zeros is the image of a machine that was booted.
type zeros struct{}

func (zeros) ReadPages(p []byte, _ uint64) error {
	clear(p)
	return nil
}
