package guestmem

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// filled makes a file of so many pages, each of which begins with v.
func filled(t *testing.T, pages int, v byte) *os.File {
	t.Helper()
	b := make([]byte, pages*PageSize)
	for i := range pages {
		b[i*PageSize] = v
	}
	path := filepath.Join(t.TempDir(), "memory")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestMapPieces(t *testing.T) {
	a, b := filled(t, 16, 1), filled(t, 16, 2)
	m, err := MapPieces(16*PageSize, []Piece{{0, 3, a}, {3, 1, b}, {4, 2, nil}, {6, 8, a}, {14, 2, b}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a.Close() // the mapping holds what it needs
	for i, want := range []byte{1, 1, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2} {
		if got := m.regions[0].Host[i*PageSize]; got != want {
			t.Errorf("page %d is %d, want %d", i, got, want)
		}
	}
	m.regions[0].Host[3*PageSize] = 9
	var p [1]byte
	if _, err := b.ReadAt(p[:], 3*PageSize); err != nil || p[0] != 2 {
		t.Errorf("the file was changed: %d, %v", p[0], err)
	}
}

func TestMapPiecesRefuses(t *testing.T) {
	a, short := filled(t, 16, 1), filled(t, 5, 2)
	for _, c := range []struct {
		want   string
		pieces []Piece
	}{
		{"do not fit", []Piece{{0, 3, a}, {4, 12, a}}},
		{"do not fit", []Piece{{0, 3, a}, {2, 14, a}}},
		{"do not fit", []Piece{{0, 0, a}, {0, 16, a}}},
		{"do not fit", []Piece{{0, 3, a}, {3, ^uint64(0), a}}},
		{"end at page", []Piece{{0, 3, a}}},
		{"end at page", nil},
		{"is truncated", []Piece{{0, 3, a}, {3, 3, short}, {6, 10, a}}},
		{"is truncated", []Piece{{0, 16, short}}},
	} {
		if m, err := MapPieces(16*PageSize, c.pieces); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v %v", c.pieces, m, err)
		}
	}
	// Short, but long enough for what is taken of it.
	m, err := MapPieces(16*PageSize, []Piece{{0, 5, short}, {5, 11, a}})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}
