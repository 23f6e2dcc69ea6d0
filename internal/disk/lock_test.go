package disk

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestLocks(t *testing.T) {
	ro, rw := Options{ReadOnly: true}, Options{}
	for _, c := range []struct {
		name          string
		first, second Options
		refused       bool
		says          string
	}{
		{"two readers", ro, ro, false, ""},
		{"writer after reader", ro, rw, true, "--overlay"},
		{"reader after writer", rw, ro, true, "is being written by"},
		{"two writers", rw, rw, true, "belongs to one VM alone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := file(t, make([]byte, 4096))
			first, err := OpenRaw(path, c.first)
			if err != nil {
				t.Fatal(err)
			}
			second, err := OpenRaw(path, c.second)
			if !c.refused {
				if err != nil {
					t.Fatal(err)
				}
				_ = second.Close()
				_ = first.Close()
				return
			}
			if err == nil {
				t.Fatal("opened")
			}
			if !errors.Is(err, ErrLocked) {
				t.Errorf("%v is not ErrLocked", err)
			}
			for _, want := range []string{path, c.says, "this VM"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			again, err := OpenRaw(path, c.second)
			if err != nil {
				t.Fatalf("after the first was closed: %v", err)
			}
			_ = again.Close()
		})
	}
}

// TestLockOfAnotherProcess is about two VMs, which are processes: the message names the one that holds the image, and
// a killed one holds nothing.
func TestLockOfAnotherProcess(t *testing.T) {
	path := file(t, make([]byte, 4096))
	cmd := exec.Command(os.Args[0], "-test.run=^TestMain$")
	cmd.Env = append(os.Environ(), "DISK_TEST_HOLD="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if n, err := out.Read(make([]byte, 1)); n != 1 {
		t.Fatalf("the other process did not open the image: %v", err)
	}
	_, err = OpenRaw(path, Options{})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("%v does not name process %d", err, cmd.Process.Pid)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	img, err := OpenRaw(path, Options{})
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	_ = img.Close()
}

// TestMain is also the body of the process that holds an image until it is killed or its parent is gone.
func TestMain(m *testing.M) {
	if path := os.Getenv("DISK_TEST_HOLD"); path != "" {
		if _, err := OpenRaw(path, Options{}); err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString("!")
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	os.Exit(m.Run())
}
