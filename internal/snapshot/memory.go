package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"
)

const pageSize = 4096

var zeroPage [pageSize]byte

// MemorySource is guest RAM that nobody changes while it is written.
type MemorySource interface {
	// Size is the number of bytes.
	Size() uint64
	// Chunk returns the n bytes at offset of the memory image, or nil when they are known to be zero. n is at most
	// ChunkSize.
	Chunk(offset, n uint64) ([]byte, error)
}

// writeMemory writes the image sparse, page by page, and sums it on the way.
func writeMemory(path string, src MemorySource) (Memory, error) {
	m := Memory{SizeBytes: src.Size()}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return m, err
	}
	err = f.Truncate(int64(m.SizeBytes))
	for off := uint64(0); off < m.SizeBytes && err == nil; off += ChunkSize {
		var chunk []byte
		if chunk, err = src.Chunk(off, min(ChunkSize, m.SizeBytes-off)); err != nil {
			break
		}
		var stored uint64
		if stored, err = writePages(f, chunk, off); err != nil {
			break
		}
		m.StoredBytes += stored
		sum := uint64(0)
		if stored > 0 {
			sum = xxhash.Sum64(chunk)
		}
		m.Sums = binary.LittleEndian.AppendUint64(m.Sums, sum)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return m, fmt.Errorf("write guest memory: %w", err)
	}
	return m, nil
}

// writePages writes the runs of pages of chunk that are not zero and returns their bytes.
func writePages(f *os.File, chunk []byte, off uint64) (stored uint64, err error) {
	for at := 0; at < len(chunk); {
		if isZero(chunk[at:min(at+pageSize, len(chunk))]) {
			at += pageSize
			continue
		}
		end := at
		for end < len(chunk) && !isZero(chunk[end:min(end+pageSize, len(chunk))]) {
			end += pageSize
		}
		end = min(end, len(chunk))
		if _, err := f.WriteAt(chunk[at:end], int64(off)+int64(at)); err != nil {
			return stored, err
		}
		stored += uint64(end - at)
		at = end
	}
	return stored, nil
}

func isZero(p []byte) bool { return bytes.Equal(p, zeroPage[:len(p)]) }

// verifyMemory reads the whole image and compares its sums.
func verifyMemory(f *os.File, m Memory, progress func(done, total uint64)) error {
	buf := make([]byte, ChunkSize)
	for off := uint64(0); off < m.SizeBytes; off += ChunkSize {
		chunk := buf[:min(ChunkSize, m.SizeBytes-off)]
		want := binary.LittleEndian.Uint64(m.Sums[8*(off/ChunkSize):])
		zero, err := holeAt(f, int64(off), int64(len(chunk)))
		if err != nil {
			return err
		}
		sum := uint64(0)
		if !zero {
			if _, err := f.ReadAt(chunk, int64(off)); err != nil && err != io.EOF {
				return err
			}
			// A chunk of zeros may be stored as data: copying a template may fill its holes.
			if sum = xxhash.Sum64(chunk); want == 0 && allZero(chunk) {
				sum = 0
			}
		}
		if sum != want {
			return fmt.Errorf("memory is damaged between offsets %#x and %#x", off, off+uint64(len(chunk)))
		}
		progress(off+uint64(len(chunk)), m.SizeBytes)
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
