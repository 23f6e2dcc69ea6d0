package disk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// file makes a file with the content in a directory of the test's.
func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string, opts Options) Image {
	t.Helper()
	img, err := OpenRaw(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	return img
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestOpenRawRefuses(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	qcow2 := append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 4096)...)
	for _, c := range []struct{ name, path, want string }{
		{"missing", filepath.Join(t.TempDir(), "none.img"), "does not exist"},
		{"directory", t.TempDir(), "is a directory"},
		{"empty", file(t, nil), "is empty"},
		{"less than a sector", file(t, make([]byte, 511)), "is empty (511 bytes)"},
		{"fifo", fifo, "neither a regular file nor a block device"},
		{"character device", "/dev/null", "neither a regular file nor a block device"},
		{"qcow2", file(t, qcow2), "qemu-img convert"},
	} {
		for _, readOnly := range []bool{false, true} {
			img, err := OpenRaw(c.path, Options{ReadOnly: readOnly})
			if err == nil {
				_ = img.Close()
				t.Errorf("%s (read-only %v): opened", c.name, readOnly)
				continue
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("%s (read-only %v): %q does not say %q and name the image", c.name, readOnly, err, c.want)
			}
		}
	}
	if _, err := OpenRaw(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v is not os.ErrNotExist", err)
	}
}

func TestSizeRoundsDown(t *testing.T) {
	path := file(t, pattern(3*512+100))
	img := open(t, path, Options{})
	if img.Size() != 3*512 || img.Name() != path || img.ReadOnly() {
		t.Fatalf("size %d, name %q, read-only %v", img.Size(), img.Name(), img.ReadOnly())
	}
	if err := img.WriteAtv([][]byte{make([]byte, 1)}, 3*512); !errors.Is(err, ErrRange) {
		t.Errorf("write to the tail: %v", err)
	}
	if err := img.WriteAtv([][]byte{make([]byte, 3*512)}, 0); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(path)
	if want := append(make([]byte, 3*512), pattern(3*512 + 100)[3*512:]...); !bytes.Equal(got, want) {
		t.Error("the tail beyond the last whole sector changed, or the sectors did not")
	}
}

func TestVectoredTransfers(t *testing.T) {
	const size = 1 << 20
	for _, c := range []struct {
		name    string
		lengths func(i int) int
		count   int
		off     int64
	}{
		{"one buffer", func(int) int { return 4096 }, 1, 512},
		{"none", nil, 0, 0},
		{"empty ones between", func(i int) int { return i % 3 * 512 }, 50, 1024},
		{"only empty ones", func(int) int { return 0 }, 3, size},
		{"odd lengths", func(i int) int { return 2*i + 1 }, 100, 7},
		{"more than IOV_MAX", func(int) int { return 100 }, 3*iovMax + 5, 4096},
		{"more empty ones than IOV_MAX", func(i int) int { return i / (2 * iovMax) * 10 }, 2*iovMax + 20, 0},
		{"up to the end", func(int) int { return 512 }, 8, size - 8*512},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := open(t, file(t, make([]byte, size)), Options{})
			var out, in [][]byte
			var flat []byte
			for i := range c.count {
				b := pattern(c.lengths(i) + i)[i:]
				out, in, flat = append(out, b), append(in, make([]byte, len(b))), append(flat, b...)
			}
			if err := img.WriteAtv(out, c.off); err != nil {
				t.Fatal(err)
			}
			if err := img.ReadAtv(in, c.off); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(bytes.Join(in, nil), flat) {
				t.Error("read differs from what was written")
			}
			whole := make([]byte, size)
			if err := img.ReadAtv([][]byte{whole}, 0); err != nil {
				t.Fatal(err)
			}
			want := make([]byte, size)
			copy(want[c.off:], flat)
			if !bytes.Equal(whole, want) {
				t.Error("bytes outside the range changed, or the range is elsewhere")
			}
			if err := img.Flush(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestShortTransfers has the kernel move less than asked, down to a byte, and be interrupted.
func TestShortTransfers(t *testing.T) {
	r := &raw{path: "fake", size: 1 << 20}
	for _, step := range []int{1, 3, 512, 1000} {
		var got []byte
		calls := 0
		call := func(_ int, iovs [][]byte, off int64) (int, error) {
			if calls++; calls%3 == 0 {
				return 0, unix.EINTR
			}
			if off != int64(100+len(got)) {
				t.Fatalf("call at %d after %d bytes", off, len(got))
			}
			flat := bytes.Join(iovs, nil)
			n := min(step, len(flat))
			got = append(got, flat[:n]...)
			return n, nil
		}
		segs := [][]byte{pattern(10), nil, pattern(700), pattern(1), nil}
		want := bytes.Join(segs, nil)
		if err := r.transfer("write", call, segs, 100); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) || !bytes.Equal(bytes.Join(segs, nil), want) {
			t.Errorf("steps of %d: moved bytes differ, or the caller's list changed", step)
		}
	}
}

func TestRangeIsChecked(t *testing.T) {
	img := open(t, file(t, make([]byte, 8192)), Options{})
	for _, c := range []struct{ off, n int64 }{
		{-1, 1}, {-512, 512}, {8192, 1}, {8191, 2}, {0, 8193}, {1 << 62, 512}, {1<<63 - 1, 1},
	} {
		seg := [][]byte{make([]byte, c.n)}
		for name, err := range map[string]error{
			"read": img.ReadAtv(seg, c.off), "write": img.WriteAtv(seg, c.off),
			"discard": img.Discard(c.off, c.n), "zeroes": img.WriteZeroes(c.off, c.n, false),
		} {
			if !errors.Is(err, ErrRange) {
				t.Errorf("%s of %d at %d: %v", name, c.n, c.off, err)
			}
		}
	}
	for _, n := range []int64{-1, 1<<63 - 1} {
		if err := img.Discard(1, n); !errors.Is(err, ErrRange) {
			t.Errorf("discard of %d bytes: %v", n, err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	path := file(t, pattern(4096))
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	img := open(t, path, Options{ReadOnly: true})
	seg := [][]byte{make([]byte, 512)}
	for name, err := range map[string]error{
		"write": img.WriteAtv(seg, 0), "discard": img.Discard(0, 512), "zeroes": img.WriteZeroes(0, 512, true),
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := img.Flush(); err != nil {
		t.Error(err)
	}
	flags, err := unix.FcntlInt(uintptr(img.(*raw).fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY {
		t.Errorf("open flags %#x, %v: not O_RDONLY", flags, err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, pattern(4096)) {
		t.Error("the image changed")
	}
}

func TestTruncatedWhileOpen(t *testing.T) {
	path := file(t, pattern(8192))
	img := open(t, path, Options{})
	if err := os.Truncate(path, 4096+100); err != nil {
		t.Fatal(err)
	}
	seg := [][]byte{make([]byte, 4096)}
	if err := img.ReadAtv(seg, 0); err != nil || !bytes.Equal(seg[0], pattern(4096)) {
		t.Errorf("the part that is still there: %v", err)
	}
	for _, off := range []int64{4096, 512} {
		if err := img.ReadAtv(seg, off); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), path) {
			t.Errorf("read over the new end from %d: %v", off, err)
		}
	}
}

func TestTryRead(t *testing.T) {
	path := file(t, pattern(1<<20))
	img := open(t, path, Options{})
	want := pattern(1 << 20)
	whole := make([]byte, 1<<20)
	if err := img.ReadAtv([][]byte{whole}, 0); err != nil { // now it is in the page cache, as far as the host can
		t.Fatal(err)
	}
	segs := [][]byte{make([]byte, 512), nil, make([]byte, 4096)}
	if img.TryReadAtv(segs, 1024) && !bytes.Equal(bytes.Join(segs, nil), want[1024:1024+4608]) {
		t.Error("read differs")
	}
	for name, done := range map[string]bool{
		"outside":           img.TryReadAtv(segs, 1<<20),
		"too many buffers":  img.TryReadAtv(make([][]byte, iovMax+1), 0),
		"negative":          img.TryReadAtv(segs, -512),
		"beyond truncation": os.Truncate(path, 4096) == nil && img.TryReadAtv(segs, 0),
	} {
		if done {
			t.Errorf("%s: done", name)
		}
	}
}
