package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks
}

func TestDiscardLeavesHoles(t *testing.T) {
	const size = 4 << 20
	for name, free := range map[string]func(Image) error{
		"discard":               func(i Image) error { return i.Discard(1<<20, 2<<20) },
		"write zeroes, unmap":   func(i Image) error { return i.WriteZeroes(1<<20, 2<<20, true) },
		"write zeroes, no room": func(i Image) error { return i.WriteZeroes(1<<20, 2<<20, false) },
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, pattern(size))
			img := open(t, path, Options{})
			if err := img.Flush(); err != nil { // the file system counts blocks when it allocates them
				t.Fatal(err)
			}
			before := blocks(t, path)
			if err := free(img); err != nil {
				t.Fatal(err)
			}
			freed := before - blocks(t, path)
			if name == "write zeroes, no room" {
				if freed > 0 {
					t.Errorf("%d blocks were freed although the range is to keep its room", freed)
				}
			} else if freed < (2<<20)/512 {
				t.Errorf("%d blocks of 512 bytes were freed, %d expected", freed, (2<<20)/512)
			}
			want := pattern(size)
			clear(want[1<<20 : 3<<20])
			if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
				t.Error("the range is not zero, or more than the range is")
			}
		})
	}
}

// TestWriteZeroesWithoutFallocate is on a file that does not know FALLOC_FL_ZERO_RANGE: the zeroes are written.
func TestWriteZeroesWithoutFallocate(t *testing.T) {
	fd, err := unix.MemfdCreate("disk", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	memfd := os.NewFile(uintptr(fd), "memfd")
	defer memfd.Close()
	if err := unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, 0, 512); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("shared memory answers FALLOC_FL_ZERO_RANGE with %v: this test needs a file that refuses it", err)
	}
	const size = 1 << 20
	if _, err := memfd.WriteAt(pattern(size), 0); err != nil {
		t.Fatal(err)
	}
	img := open(t, fmt.Sprintf("/proc/self/fd/%d", fd), Options{})
	const off, n = 512, int64(len(zeroes)) + 1024
	if err := img.WriteZeroes(off, n, false); err != nil {
		t.Fatal(err)
	}
	want, got := pattern(size), make([]byte, size)
	clear(want[off : off+n])
	if err := img.ReadAtv([][]byte{got}, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the range is not zero, or more than the range is (%v)", err)
	}
}
