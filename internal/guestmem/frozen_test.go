package guestmem

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the process that freezes memory and is killed.
func TestMain(m *testing.M) {
	if os.Getenv("GUESTMEM_FREEZE") != "" {
		freezeAndWait()
	}
	os.Exit(m.Run())
}

func freezeAndWait() {
	m, err := NewAnonymous(16 << 20)
	if err == nil {
		var f *Frozen
		if f, err = m.Freeze(); err == nil {
			os.Stdout.WriteString(strconv.Itoa(f.pid) + "\n")
			select {}
		}
	}
	os.Stdout.WriteString(err.Error() + "\n")
	os.Exit(1)
}

func freeze(t *testing.T, m *Memory) *Frozen {
	t.Helper()
	f, err := m.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// page reads one page of a frozen copy, 0 where it is not the machine's own.
func page(t *testing.T, f *Frozen, n uint64) (own bool, first byte) {
	t.Helper()
	mark, p := make([]bool, 3), make([]byte, 3*PageSize)
	if err := errors.Join(f.Own(mark, n), f.ReadOwn(p, mark, n)); err != nil {
		t.Fatal(err)
	}
	return mark[0], p[0]
}

// TestFrozenStaysAsItWas changes memory after it was frozen: pages it had, pages it only read, and new ones. It also reads
// a copy while another is held.
func TestFrozenStaysAsItWas(t *testing.T) {
	m := mapped(t, 64)
	set := func(page uint64, v byte) { m.regions[0].Host[page*PageSize] = v }
	set(1, 7)
	set(2, 8)
	if m.regions[0].Host[10*PageSize] != 10 {
		t.Fatal("the image is not there")
	}
	first := freeze(t, m)
	set(1, 70)
	set(3, 9)
	second := freeze(t, m)
	set(1, 71)
	set(2, 80)
	for _, c := range []struct {
		f    *Frozen
		page uint64
		own  bool
		want byte
	}{
		{first, 1, true, 7}, {first, 2, true, 8}, {first, 3, false, 0}, {first, 10, false, 0}, {first, 11, false, 0},
		{second, 1, true, 70}, {second, 2, true, 8}, {second, 3, true, 9},
	} {
		if own, got := page(t, c.f, c.page); own != c.own || got != c.want {
			t.Errorf("page %d: own %v, %d; want %v, %d", c.page, own, got, c.own, c.want)
		}
	}
	if err := first.Own(make([]bool, 2), 63); !errors.Is(err, ErrOutside) {
		t.Errorf("beyond the end: %v", err)
	}
}

// mapped is memory over an image each page of which begins with its number.
func mapped(t *testing.T, pages int) *Memory {
	t.Helper()
	path := filepath.Join(t.TempDir(), "memory")
	image := make([]byte, pages*PageSize)
	for i := range pages {
		image[i*PageSize] = byte(i)
	}
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := MapPrivate(f, uint64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestFrozenHoldsNothing looks at the child from outside.
func TestFrozenHoldsNothing(t *testing.T) {
	lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	f := freeze(t, mapped(t, 16))
	proc := "/proc/" + strconv.Itoa(f.pid)
	var left []os.DirEntry
	for range 1000 {
		if left, err = os.ReadDir(proc + "/fd"); err != nil || len(left) == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil || len(left) != 1 || left[0].Name() != "0" {
		t.Errorf("its descriptors: %v, %v", left, err)
	}
	// The lock is the kernel's to give again as soon as we have closed it.
	other, err := os.OpenFile(lock.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	lock.Close()
	if err := unix.FcntlFlock(other.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Errorf("a lock of ours is still held: %v", err)
	}
	if b, err := os.ReadFile(proc + "/oom_score_adj"); err != nil || strings.TrimSpace(string(b)) != "1000" {
		t.Errorf("oom_score_adj %q, %v", b, err)
	}
	pid := f.pid
	f.Close()
	f.Close()
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("the child after Close: %v", err)
	}
}

// TestReadingCopiesNothing: what is read of the frozen copy stays shared with the machine, in memory that is there once.
func TestReadingCopiesNothing(t *testing.T) {
	const pages = 300
	m, err := NewAnonymous(pages * PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for page := range uint64(pages) {
		if err := m.WriteAt([]byte{byte(page), 1}, page*PageSize); err != nil {
			t.Fatal(err)
		}
	}
	f, err := m.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	own := make([]bool, pages)
	if err := f.Own(own, 0); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, pages*PageSize)
	if err := f.ReadOwn(b, own, 0); err != nil {
		t.Fatal(err)
	}
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer pagemap.Close()
	entries := make([]byte, 8*pages)
	if _, err := pagemap.ReadAt(entries, int64(address(m.Regions()[0].Host)/PageSize*8)); err != nil {
		t.Fatal(err)
	}
	const exclusive = 1 << 56 // mapped by this process alone
	for page := range pages {
		if b[page*PageSize] != byte(page) || b[page*PageSize+1] != 1 {
			t.Fatalf("page %d was read as %d", page, b[page*PageSize])
		}
		if binary.NativeEndian.Uint64(entries[8*page:])&exclusive != 0 {
			t.Fatalf("page %d has been copied", page)
		}
	}
}

// TestFrozenIsLost ends the child as the kernel does when memory runs out.
func TestFrozenIsLost(t *testing.T) {
	m := mapped(t, 16)
	m.regions[0].Host[0] = 1
	f := freeze(t, m)
	own := []bool{true}
	if err := unix.Kill(f.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, f.pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.ReadOwn(make([]byte, PageSize), own, 0); !errors.Is(err, ErrFrozenLost) {
		t.Errorf("read: %v", err)
	}
	if err := f.Own(own, 0); !errors.Is(err, ErrFrozenLost) {
		t.Errorf("pagemap: %v", err)
	}
}

// TestFrozenEndsWithItsOwner kills the process that froze its memory.
func TestFrozenEndsWithItsOwner(t *testing.T) {
	owner := exec.Command("/proc/self/exe")
	owner.Env = append(os.Environ(), "GUESTMEM_FREEZE=1")
	out, err := owner.StdoutPipe()
	if err == nil {
		err = owner.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, numErr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || numErr != nil {
		t.Fatalf("it says %q, %v", line, err)
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Fatalf("there is no child: %v", err)
	}
	owner.Process.Kill()
	owner.Wait()
	for range 2000 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the child outlives its owner")
}
