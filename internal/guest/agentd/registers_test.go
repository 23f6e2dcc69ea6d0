package agentd

import (
	"os"
	"path/filepath"
	"testing"

	"clone/internal/x86"

	"golang.org/x/sys/unix"
)

func TestMapRegisters(t *testing.T) {
	r, err := mapRegisters("/dev/zero", x86.HostClockAddr)
	if err != nil {
		t.Fatal(err)
	}
	if v := r.Uint64(8); v != 0 {
		t.Errorf("%#x", v)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}

	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "nothing"), fifo, file} {
		if _, err := mapRegisters(path, x86.HostClockAddr); err == nil {
			t.Errorf("mapped %s", path)
		}
	}
	if _, err := mapRegisters("/dev/zero", 1); err == nil {
		t.Error("mapped what is not a page")
	}
}
