package snapshot

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"sort"
)

// Piece is a run of pages of a template's memory and the file that holds them, at the same offset as in the image.
type Piece struct {
	Page, Pages uint64   // number of the first page, counted in the image; number of pages
	File        *os.File // nil: zeros
	// id of the template whose layer it is; "" for zeros. The pages that one template shows never change, so two pieces
	// with one id are the same where they overlap.
	id string
}

func (p Piece) end() uint64 { return p.Page + p.Pages }

// Image is the memory of a template as its forks see it: what its layers store, each over those below. A nil Image is
// that of a machine that was booted: zeros.
type Image struct {
	pieces []Piece // in ascending order, without a gap
}

// maxPieces bounds the mappings of a fork: half of what Linux gives a process (vm.max_map_count).
const maxPieces = 32 << 10

// Pieces is what is to be mapped, in ascending order and without a gap. The files are the template's.
func (im *Image) Pieces() []Piece { return im.pieces }

// over lays a layer's extents over an image.
func over(below []Piece, extents []Extent, file *os.File, id string) []Piece {
	out := make([]Piece, 0, len(below)+2*len(extents))
	at, i := uint64(0), 0
	show := func(to uint64) { // what is below, from at on
		for at < to {
			for below[i].end() <= at {
				i++
			}
			p := below[i]
			p.Page, p.Pages = at, min(p.end(), to)-at
			out, at = append(out, p), p.end()
		}
	}
	for _, e := range extents {
		show(e.Page)
		p := Piece{Page: e.Page, Pages: e.Pages, File: file, id: id}
		if e.Zero {
			p.File, p.id = nil, ""
		}
		out, at = append(out, p), e.end()
	}
	if n := len(below); n > 0 {
		show(below[n-1].end())
	}
	return out
}

// differ lists the runs of pages that two images of a size do not have from the same template.
func differ(a, b []Piece) []Extent {
	var out []Extent
	for i, j, at := 0, 0, uint64(0); i < len(a) && j < len(b); {
		to := min(a[i].end(), b[j].end())
		if a[i].id != b[j].id {
			if n := len(out); n > 0 && out[n-1].end() == at {
				out[n-1].Pages += to - at
			} else {
				out = append(out, Extent{Page: at, Pages: to - at})
			}
		}
		if at = to; a[i].end() == at {
			i++
		}
		if b[j].end() == at {
			j++
		}
	}
	return out
}

// piecesOf is an image's pieces, those of a booted machine too.
func piecesOf(im *Image, pages uint64) []Piece {
	if im == nil {
		return []Piece{{Pages: pages}}
	}
	return im.pieces
}

// holesFrom is the number of pages from which on it pays to ask whether they are a hole before they are read.
const holesFrom = 16

// read fills p with pages from first on, and tells whether they are known to be zeros.
func (im *Image) read(p []byte, first uint64) (zero bool, err error) {
	zero = true
	if im == nil {
		clear(p)
		return zero, nil
	}
	i := sort.Search(len(im.pieces), func(i int) bool { return im.pieces[i].end() > first })
	for ; len(p) > 0; i++ {
		if i >= len(im.pieces) {
			return false, fmt.Errorf("page %#x is beyond the end of the memory image", first)
		}
		piece := im.pieces[i]
		n := min(piece.end()-first, uint64(len(p))/pageSize)
		part := p[:n*pageSize]
		hole := piece.File == nil
		if !hole && n >= holesFrom {
			if hole, err = holeAt(piece.File, int64(first*pageSize), int64(len(part))); err != nil {
				return false, err
			}
		}
		if hole {
			clear(part)
		} else if _, err := piece.File.ReadAt(part, int64(first*pageSize)); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return false, fmt.Errorf("read %s: %w", piece.File.Name(), err)
		}
		zero = zero && hole
		p, first = p[len(part):], first+n
	}
	return zero, nil
}

// ReadPage fills p with a page, and tells whether a file holds it; where none does, it need not.
func (im *Image) ReadPage(p []byte, page uint64) (shared bool, err error) {
	if im == nil {
		return false, nil
	}
	i := sort.Search(len(im.pieces), func(i int) bool { return im.pieces[i].end() > page })
	if i < len(im.pieces) && im.pieces[i].File == nil {
		return false, nil
	}
	_, err = im.read(p[:pageSize], page)
	return true, err
}

// readMarked fills the marked pages of p, which is pages from first on.
func (im *Image) readMarked(p []byte, mark []bool, first uint64) error {
	for at, n := range runs(mark) {
		if _, err := im.read(p[at*pageSize:(at+n)*pageSize], first+uint64(at)); err != nil {
			return err
		}
	}
	return nil
}

// runs are where marks are set: the first of each run, and how many follow each other.
func runs(mark []bool) iter.Seq2[int, int] {
	return func(yield func(at, n int) bool) {
		for at := 0; at < len(mark); at++ {
			if !mark[at] {
				continue
			}
			n := slices.Index(mark[at:], false)
			if n < 0 {
				n = len(mark) - at
			}
			if !yield(at, n) {
				return
			}
			at += n
		}
	}
}
