package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	patternSocket = "/run/pattern.sock"
	patternBytes  = 12 << 20
	pageBytes     = 4096
	fourGiB       = 4 << 30
)

// holdPattern is the guest's program that fills pages with a pattern made of the guest-physical addresses they have, and
// then answers on a socket whether it is still there.
func holdPattern([]string) error {
	mem, err := unix.Mmap(-1, 0, patternBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	if err := unix.Mlock(mem); err != nil {
		return err
	}
	addresses, err := physical(mem)
	if err != nil {
		return err
	}
	page := make([]byte, pageBytes)
	high := 0
	for i, gpa := range addresses {
		copy(mem[i*pageBytes:], pattern(page, gpa))
		if gpa >= fourGiB {
			high++
		}
	}
	l, err := net.Listen("unix", patternSocket)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		wrong := 0
		for i, gpa := range addresses {
			if !bytes.Equal(mem[i*pageBytes:][:pageBytes], pattern(page, gpa)) {
				wrong++
			}
		}
		fmt.Fprintf(c, "%d pages above 4 GiB, %d wrong of %d\n", high, wrong, len(addresses))
		c.Close()
	}
}

// checkPattern is the program that asks it.
func checkPattern([]string) error {
	c, err := net.Dial("unix", patternSocket)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, c)
	return err
}

// pattern fills a page with words that occur nowhere else.
func pattern(page []byte, gpa uint64) []byte {
	for i := 0; i < len(page); i += 8 {
		binary.LittleEndian.PutUint64(page[i:], (gpa+uint64(i))*0x9e3779b97f4a7c15)
	}
	return page
}

// physical reads the guest-physical address of each page (Documentation/admin-guide/mm/pagemap.rst).
func physical(mem []byte) ([]uint64, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries := make([]byte, 8*len(mem)/pageBytes)
	if _, err := f.ReadAt(entries, int64(reflect.ValueOf(mem).Pointer()/pageBytes*8)); err != nil {
		return nil, err
	}
	var list []uint64
	for ; len(entries) > 0; entries = entries[8:] {
		const frame = 1<<55 - 1
		list = append(list, binary.LittleEndian.Uint64(entries)&frame*pageBytes)
	}
	return list, nil
}

// TestMemoryAboveTheHole forks a guest with more RAM than fits below the devices at 3 GiB, and with a pattern in what lies
// above 4 GiB. It fails when the upper part of the memory image is mapped anywhere else.
func TestMemoryAboveTheHole(t *testing.T) {
	h := newHost(t)
	vm := h.boot(t, "--mem-mb", "5120")
	h.installProgram(t, vm)
	h.startBackground(t, vm, "/run/guestprog hold 2>/run/pattern.err; touch /run/pattern.end")
	h.sh(t, vm, "until [ -S "+patternSocket+" ]; do [ -e /run/pattern.end ] && cat /run/pattern.err && exit 1; sleep 0.1; done")
	check := func(vm string) {
		t.Helper()
		got := h.exec(t, vm, "/run/guestprog", "check")
		var high, wrong, all int
		if _, err := fmt.Sscanf(got, "%d pages above 4 GiB, %d wrong of %d", &high, &wrong, &all); err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if wrong != 0 || high < 2048 {
			t.Errorf("VM %s: %s", vm, got)
		}
		t.Logf("VM %s: %s", vm, got)
	}
	check(vm)
	h.snapshot(t, vm, "large")
	for range 2 {
		check(h.fork(t, "large"))
	}
	check(vm)
	if got := h.ok(t, "template", "verify", "large"); got != "template large is whole" {
		t.Errorf("verify: %s", got)
	}
	// The image has holes where the guest never was.
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(h.dir, "home", "templates", "large", "memory"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 5<<30 || st.Blocks*512 > 1<<30 {
		t.Errorf("the memory image has %d bytes, %d of them stored", st.Size, st.Blocks*512)
	}
	if got := strings.Fields(h.exec(t, vm, "grep", "MemTotal", "/proc/meminfo")); number(t, got[1]) < 4900<<10 {
		t.Errorf("the guest has %s KiB", got[1])
	}
}
