package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"clone/internal/agentproto"
)

func TestCopy(t *testing.T) {
	c := connect(t)
	dir := t.TempDir()
	for _, size := range []int{0, 1, agentproto.MaxData, 3*agentproto.Window + 17} {
		want := bytes.Repeat([]byte{'a', 'b', 'c'}, size/3+1)[:size]
		path := filepath.Join(dir, "file")
		for _, announced := range []int64{int64(size), -1} {
			if err := c.CopyIn(t.Context(), path, 0o4751, announced, bytes.NewReader(want)); err != nil {
				t.Fatal(err)
			}
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Mode(); got != 0o751|fs.ModeSetuid && got != 0o751 {
			t.Errorf("mode %v", got)
		}
		var out bytes.Buffer
		info, err := c.CopyOut(t.Context(), path, &out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), want) || info.Size != uint64(size) || info.Mode != st.Mode() || !info.ModTime.Equal(st.ModTime()) {
			t.Errorf("copied %d bytes back, %+v; want %d bytes, %v", out.Len(), info, size, st.Mode())
		}
	}
	if out, err := c.CopyOut(t.Context(), "/proc/self/status", io.Discard); err != nil {
		t.Errorf("a file of /proc: %v, %v", out, err)
	}
}

func TestCopyModes(t *testing.T) {
	c := connect(t)
	path := filepath.Join(t.TempDir(), "file")
	for _, mode := range []fs.FileMode{0o600, 0o777, 0o755 | fs.ModeSetuid, 0o711 | fs.ModeSetgid | fs.ModeSticky} {
		if err := c.CopyIn(t.Context(), path, mode, 0, bytes.NewReader(nil)); err != nil {
			t.Fatal(err)
		}
		if info, err := c.CopyOut(t.Context(), path, io.Discard); err != nil || info.Mode != mode {
			t.Errorf("mode %v, %v; want %v", info.Mode, err, mode)
		}
	}
}

// TestCopyInAtomic: whatever goes wrong, the old file stays and nothing is left.
func TestCopyInAtomic(t *testing.T) {
	c := connect(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	tests := []struct {
		name string
		size int64
		r    io.Reader
		want error
	}{
		{"too short", 5, bytes.NewReader([]byte("1234")), syscall.EIO},
		{"too long", 3, bytes.NewReader([]byte("1234")), syscall.EFBIG},
		{"broken reader", 5, failing{broken}, broken},
		{"given up", -1, readFunc(func([]byte) (int, error) { cancel(); return 0, nil }), context.Canceled},
	}
	for _, tt := range tests {
		if err := c.CopyIn(ctx, path, 0o600, tt.size, tt.r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "old" {
		t.Errorf("the file is %q, %v", got, err)
	}
	if err := c.CopyIn(t.Context(), link, 0o600, 3, bytes.NewReader([]byte("new"))); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "new" {
		t.Errorf("through the link: %q", got)
	}
	if st, _ := os.Lstat(link); st.Mode().Type() != fs.ModeSymlink {
		t.Error("the link was replaced")
	}
	waitFor(t, func() bool {
		list, err := os.ReadDir(dir)
		return err == nil && len(list) == 2
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestCopyErrors(t *testing.T) {
	c := connect(t)
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path    string
		in, out error
	}{
		{"relative", nil, nil},
		{"", nil, nil},
		{dir, syscall.EISDIR, syscall.EISDIR},
		{dir + "/", syscall.EISDIR, syscall.EISDIR},
		{"/no/such/file", fs.ErrNotExist, fs.ErrNotExist},
		{fifo, syscall.EINVAL, syscall.EINVAL},
		{"/dev/null", syscall.EINVAL, syscall.EINVAL},
	}
	for _, tt := range tests {
		err := c.CopyIn(t.Context(), tt.path, 0o600, 4, bytes.NewReader([]byte("data")))
		if err == nil || (tt.in != nil && !errors.Is(err, tt.in)) {
			t.Errorf("CopyIn %q: %v", tt.path, err)
		}
		_, err = c.CopyOut(t.Context(), tt.path, io.Discard)
		if err == nil || (tt.out != nil && !errors.Is(err, tt.out)) {
			t.Errorf("CopyOut %q: %v", tt.path, err)
		}
	}
	broken := errors.New("broken")
	if _, err := c.CopyOut(t.Context(), "/proc/self/status", failing{broken}); !errors.Is(err, broken) {
		t.Errorf("broken writer: %v", err)
	}
}
