package initrd

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModuleBytes bounds a module, packed or not; the largest file system of a
// distribution kernel is about 3 MB.
const maxModuleBytes = 64 << 20

// readModule returns the plain ELF file of a module, whatever it is packed
// with. The kernel's own signature, behind the ELF data, is part of it.
func readModule(name string) ([]byte, error) {
	packed, err := readBounded(name, maxModuleBytes)
	if err != nil {
		return nil, err
	}
	plain, err := decompress(packed, maxModuleBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !bytes.HasPrefix(plain, []byte("\x7fELF")) {
		return nil, fmt.Errorf("%s is not a kernel module", name)
	}
	return plain, nil
}

// decompress looks at the content, not at the name: they can disagree.
func decompress(packed []byte, limit int64) ([]byte, error) {
	var r io.Reader
	var err error
	src := bytes.NewReader(packed)
	switch {
	case bytes.HasPrefix(packed, []byte("\xfd7zXZ\x00")):
		r, err = xz.ReaderConfig{DictCap: 1 << 20, SingleStream: false}.NewReader(src)
	case bytes.HasPrefix(packed, []byte("\x28\xb5\x2f\xfd")):
		var d *zstd.Decoder
		d, err = zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)))
		if err == nil {
			defer d.Close()
			r = d
		}
	case bytes.HasPrefix(packed, []byte("\x1f\x8b")):
		r, err = gzip.NewReader(src)
	default:
		return packed, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if int64(len(plain)) > limit {
		return nil, errors.New("unpack: larger than any kernel module")
	}
	return plain, nil
}
