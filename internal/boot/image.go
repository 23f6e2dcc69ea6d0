package boot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"clone/internal/x86"
)

// Image is a kernel or initrd in memory.
type Image struct {
	// Path is the file it came from, for messages.
	Path string
	data []byte
}

// Bytes returns the whole file. Nobody changes it.
func (i *Image) Bytes() []byte { return i.data }

// SHA256 returns the hash of the bytes in hexadecimal.
func (i *Image) SHA256() string {
	sum := sha256.Sum256(i.data)
	return hex.EncodeToString(sum[:])
}

// ReadImage reads a file once. If wantSHA256 is not empty, the bytes read must have that hash (64 hexadecimal digits).
func ReadImage(path, wantSHA256 string) (*Image, error) {
	if raw, err := hex.DecodeString(wantSHA256); err != nil || len(raw) != 0 && len(raw) != sha256.Size {
		return nil, fmt.Errorf("sha256 %q for %s: need 64 hexadecimal digits, as sha256sum prints them", wantSHA256, path)
	}
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	img := &Image{Path: path, data: data}
	if wantSHA256 == "" {
		return img, nil
	}
	if got := img.SHA256(); !strings.EqualFold(got, wantSHA256) {
		return nil, fmt.Errorf("%s is not the file that was asked for: wanted sha256 %s, found %s", path, strings.ToLower(wantSHA256), got)
	}
	return img, nil
}

// readFile does not use os.ReadFile because a device or a huge file would be read until memory ends.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file: check the path", path)
	}
	if err != nil {
		return nil, err // says "open PATH: permission denied"
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case st.Size() == 0:
		return nil, fmt.Errorf("%s is empty", path)
	case st.Size() > int64(x86.LowRAMEnd):
		return nil, fmt.Errorf("%s has %d MiB: nothing above %d MiB can be loaded", path, st.Size()>>20, x86.LowRAMEnd>>20)
	}
	data := make([]byte, st.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s became shorter while it was read", path)
		}
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}
