package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
)

// layerWriter stores the pages in which a machine differs from a parent template.
type layerWriter struct {
	src    MemorySource
	base   *Image // what the machine began with, below its own pages
	parent *Image // what the layer lies over
	f      *os.File
	m      Memory
	runs   []Extent // the pages that differ

	foreign   []Extent // pages that base and parent have from different templates, those from the present chunk on
	now, want []byte
	own, mark []bool
}

// writeLayer writes a layer's memory file, and returns what it stores: every page in which src over base is not what the
// parent shows there. A page can differ only if it is the machine's own, or if base and parent have it from different
// templates; these are compared.
func writeLayer(ctx context.Context, path string, src MemorySource, base, parent *Image) (Memory, []Extent, error) {
	f, err := createMemory(path, src.Size())
	if err != nil {
		return Memory{}, nil, err
	}
	w := &layerWriter{
		src: src, base: base, parent: parent, f: f, m: Memory{SizeBytes: src.Size()},
		foreign: differ(piecesOf(base, src.Size()/pageSize), parent.pieces),
		now:     make([]byte, ChunkSize), want: make([]byte, ChunkSize),
		own: make([]bool, ChunkSize/pageSize), mark: make([]bool, ChunkSize/pageSize),
	}
	extents, err := w.write(ctx)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return w.m, nil, fmt.Errorf("write guest memory: %w", err)
	}
	return w.m, extents, nil
}

func (w *layerWriter) write(ctx context.Context) ([]Extent, error) {
	if err := chunks(ctx, w.m.SizeBytes, w.compare); err != nil {
		return nil, err
	}
	extents := w.choose()
	if n := len(over(w.parent.pieces, extents, nil, "")); n > maxPieces {
		return nil, fmt.Errorf("a fork of it would have %d mappings, at most %d are sensible: "+
			"`clone template flatten` the template it builds on, or take it with --full", n, maxPieces)
	}
	if err := w.fill(extents); err != nil {
		return nil, err
	}
	buf := w.now
	return extents, chunks(ctx, w.m.SizeBytes, func(first, pages uint64) error {
		sum, err := sumChunk(w.f, int64(first*pageSize), buf[:pages*pageSize])
		w.m.Sums = binary.LittleEndian.AppendUint64(w.m.Sums, sum)
		return err
	})
}

// compare stores the pages of a chunk that differ from the parent's.
func (w *layerWriter) compare(first, pages uint64) error {
	own, mark := w.own[:pages], w.mark[:pages]
	if err := w.src.Own(own, first); err != nil {
		return err
	}
	copy(mark, own)
	for len(w.foreign) > 0 && w.foreign[0].end() <= first {
		w.foreign = w.foreign[1:]
	}
	foreign := false
	for _, e := range w.foreign {
		if e.Page >= first+pages {
			break
		}
		for page := max(e.Page, first); page < min(e.end(), first+pages); page++ {
			mark[page-first], foreign = true, true
		}
	}
	if !slices.Contains(mark, true) {
		return nil
	}
	now, want := w.now[:pages*pageSize], w.want[:pages*pageSize]
	if foreign {
		if err := w.base.readMarked(now, mark, first); err != nil {
			return err
		}
	}
	if err := w.src.ReadOwn(now, own, first); err != nil {
		return err
	}
	if err := w.parent.readMarked(want, mark, first); err != nil {
		return err
	}
	for i := range mark {
		p := now[i*pageSize : (i+1)*pageSize]
		if mark[i] = mark[i] && !bytes.Equal(p, want[i*pageSize:(i+1)*pageSize]); mark[i] {
			zero := isZero(p)
			w.runs = appendPage(w.runs, first+uint64(i), zero)
			mark[i] = !zero // a hole in the file, whatever extent it falls into
		}
	}
	return w.store(now, mark, first)
}

// store writes the marked pages of p, runs of them at once.
func (w *layerWriter) store(p []byte, mark []bool, first uint64) error {
	for at, n := range runs(mark) {
		if _, err := w.f.WriteAt(p[at*pageSize:(at+n)*pageSize], int64(first+uint64(at))*pageSize); err != nil {
			return err
		}
		w.m.StoredBytes += uint64(n) * pageSize
	}
	return nil
}

// choose joins the runs that are closest, until they are few enough to be mapped one by one.
func (w *layerWriter) choose() []Extent {
	extents := w.runs
	for gap := uint64(1); gap <= 2*w.m.SizeBytes/pageSize; gap *= 2 {
		if len(extents) <= maxExtents && len(over(w.parent.pieces, extents, nil, "")) <= maxPieces {
			break
		}
		extents = merge(w.runs, gap)
	}
	return extents
}

// fill stores what lies between the runs that were joined: there the machine has what its parent has.
func (w *layerWriter) fill(extents []Extent) error {
	runs := w.runs
	for _, e := range extents {
		for at := e.Page; at < e.end(); {
			if len(runs) > 0 && runs[0].Page == at {
				at, runs = runs[0].end(), runs[1:]
				continue
			}
			to := e.end()
			if len(runs) > 0 {
				to = min(to, runs[0].Page)
			}
			to = min(to, at+ChunkSize/pageSize)
			p := w.now[:(to-at)*pageSize]
			if _, err := w.parent.read(p, at); err != nil {
				return err
			}
			stored, err := writePages(w.f, p, int64(at*pageSize))
			if err != nil {
				return err
			}
			w.m.StoredBytes += stored
			at = to
		}
	}
	return nil
}
