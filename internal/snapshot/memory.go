package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

const pageSize = 4096

var zeroPage [pageSize]byte

// MemorySource is guest RAM that nobody changes while it is written: some pages are the machine's own, the others are
// those of the image it began with. It is asked for ranges that do not cross a multiple of ChunkSize.
type MemorySource interface {
	// Size is the number of bytes.
	Size() uint64
	// Own tells of each page from first on whether it is the machine's own.
	Own(own []bool, first uint64) error
	// ReadOwn reads the pages that own marks, from page first on, each to its place in p, and leaves the others alone.
	ReadOwn(p []byte, own []bool, first uint64) error
}

// nothing is a source without pages of its own.
type nothing uint64

func (n nothing) Size() uint64                       { return uint64(n) }
func (nothing) Own(own []bool, _ uint64) error       { clear(own); return nil }
func (nothing) ReadOwn([]byte, []bool, uint64) error { return nil }

// chunks calls f for each ChunkSize of an image, with the number of its first page and of its pages.
func chunks(ctx context.Context, size uint64, f func(first, pages uint64) error) error {
	for off := uint64(0); off < size; off += ChunkSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(off/pageSize, min(ChunkSize, size-off)/pageSize); err != nil {
			return err
		}
	}
	return nil
}

// createMemory makes the file of an image, one hole.
func createMemory(path string, size uint64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(int64(size)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// writeMemory writes a whole image sparse, page by page, and sums it on the way: src over base.
func writeMemory(ctx context.Context, path string, src MemorySource, base *Image) (Memory, error) {
	m := Memory{SizeBytes: src.Size()}
	f, err := createMemory(path, m.SizeBytes)
	if err != nil {
		return m, err
	}
	buf, owned := make([]byte, ChunkSize), make([]bool, ChunkSize/pageSize)
	err = chunks(ctx, m.SizeBytes, func(first, pages uint64) error {
		p, own := buf[:pages*pageSize], owned[:pages]
		if err := src.Own(own, first); err != nil {
			return err
		}
		zero, some := true, slices.Contains(own, true)
		if base != nil || some {
			if zero, err = base.read(p, first); err != nil {
				return err
			}
		}
		if some {
			zero = false
			if err := src.ReadOwn(p, own, first); err != nil {
				return err
			}
		}
		sum := uint64(0)
		if !zero {
			stored, err := writePages(f, p, int64(first*pageSize))
			if err != nil {
				return err
			}
			if stored > 0 {
				sum = xxhash.Sum64(p)
			}
			m.StoredBytes += stored
		}
		m.Sums = binary.LittleEndian.AppendUint64(m.Sums, sum)
		return nil
	})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return m, fmt.Errorf("write guest memory: %w", err)
	}
	return m, nil
}

// writePages writes the runs of pages of chunk that are not zero and returns their bytes.
func writePages(f *os.File, chunk []byte, off int64) (stored uint64, err error) {
	for at := 0; at < len(chunk); {
		if isZero(chunk[at : at+pageSize]) {
			at += pageSize
			continue
		}
		end := at + pageSize
		for end < len(chunk) && !isZero(chunk[end:end+pageSize]) {
			end += pageSize
		}
		if _, err := f.WriteAt(chunk[at:end], off+int64(at)); err != nil {
			return stored, err
		}
		stored += uint64(end - at)
		at = end
	}
	return stored, nil
}

func isZero(p []byte) bool { return bytes.Equal(p, zeroPage[:len(p)]) }

// sumChunk is the checksum of n bytes of a memory file, with buf to read them into.
func sumChunk(f *os.File, off int64, buf []byte) (uint64, error) {
	zero, err := holeAt(f, off, int64(len(buf)))
	if err != nil || zero {
		return 0, err
	}
	if _, err := f.ReadAt(buf, off); err != nil && err != io.EOF {
		return 0, err
	}
	// Zeros may be stored as data: copying a template may fill its holes.
	if allZero(buf) {
		return 0, nil
	}
	return xxhash.Sum64(buf), nil
}

// verifyMemory reads a whole memory file and compares its sums.
func verifyMemory(f *os.File, m Memory, progress func(bytes uint64)) error {
	buf := make([]byte, ChunkSize)
	for off := uint64(0); off < m.SizeBytes; off += ChunkSize {
		chunk := buf[:min(ChunkSize, m.SizeBytes-off)]
		sum, err := sumChunk(f, int64(off), chunk)
		if err != nil {
			return err
		}
		if sum != binary.LittleEndian.Uint64(m.Sums[8*(off/ChunkSize):]) {
			return fmt.Errorf("memory is damaged between offsets %#x and %#x", off, off+uint64(len(chunk)))
		}
		progress(uint64(len(chunk)))
	}
	return nil
}

func allZero(chunk []byte) bool {
	for at := 0; at < len(chunk); at += pageSize {
		if !isZero(chunk[at:min(at+pageSize, len(chunk))]) {
			return false
		}
	}
	return true
}

// holeAt tells whether [off, off+n) of the file is one hole.
func holeAt(f *os.File, off, n int64) (bool, error) {
	data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return true, nil
	}
	return data >= off+n, err
}
