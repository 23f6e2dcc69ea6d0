package console

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	all := pattern(2500)
	if err := Log(bytes.NewReader(all), path, 1000); err != nil {
		t.Fatal(err)
	}
	now, err1 := os.ReadFile(path)
	old, err2 := os.ReadFile(path + ".old")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, all[1000:2000]) || !bytes.Equal(now, all[2000:]) {
		t.Errorf("%d and %d bytes kept, or the wrong ones", len(old), len(now))
	}
}

func TestLogOfStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	c := newSize(nil, 64)
	s := c.Attach()
	ended := make(chan error)
	go func() { ended <- Log(s, path, 1000) }()
	c.Write([]byte("Linux version"))
	c.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "Linux version" {
		t.Errorf("%q", b)
	}
	closed := c.Attach()
	closed.Close()
	if err := Log(closed, path, 1000); err != nil {
		t.Errorf("a stream that was closed: %v", err)
	}
}

func TestLogFails(t *testing.T) {
	if err := Log(strings.NewReader("x"), "/dev/full", 1000); err == nil {
		t.Error("a full disk went unnoticed")
	}
	if err := Log(strings.NewReader("x"), t.TempDir()+"/none/log", 1000); err == nil {
		t.Error("a missing directory went unnoticed")
	}
	r, w := io.Pipe()
	w.CloseWithError(errors.New("broken"))
	if err := Log(r, t.TempDir()+"/log", 1000); err == nil {
		t.Error("a broken stream went unnoticed")
	}
}
