package initrd

import (
	"bytes"
	"fmt"
	"time"

	"github.com/cavaliergopher/cpio"
)

// entry is one file or directory of the archive.
type entry struct {
	name string // relative to the root
	mode cpio.FileMode
	data []byte
}

func directory(name string) entry { return entry{name: name, mode: cpio.TypeDir | 0o755} }

func file(name string, mode cpio.FileMode, data []byte) entry {
	return entry{name: name, mode: cpio.TypeReg | mode, data: data}
}

// archiveAlign is what the kernel's own archives are padded to; loaders that
// put another initrd behind this one rely on it.
const archiveAlign = 512

// archive writes the entries as newc cpio: owner root, times zero, inode
// numbers by position, so that the same entries give the same bytes.
func archive(entries []entry) ([]byte, error) {
	var out bytes.Buffer
	size := archiveAlign
	for _, e := range entries {
		size += len(e.data) + len(e.name) + 128
	}
	out.Grow(size)
	w := cpio.NewWriter(&out)
	for _, e := range entries {
		h := &cpio.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data)), Links: 1, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("archive %s: %w", e.name, err)
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, fmt.Errorf("archive %s: %w", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("finish the archive: %w", err)
	}
	if rest := out.Len() % archiveAlign; rest != 0 {
		out.Write(make([]byte, archiveAlign-rest))
	}
	return out.Bytes(), nil
}
