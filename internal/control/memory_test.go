package control

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A fork's smaps on Linux 6.12, shortened: the program, a mapping of a template's memory with pages that the guest changed and
// that KSM merged, Go's heap, and the stack.
const recordedSmaps = `00400000-006f4000 r-xp 00000000 fe:00 9986458                            /usr/bin/clone
Size:               3024 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                2000 kB
Pss:                 200 kB
Pss_Dirty:             0 kB
Shared_Clean:       2000 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
Referenced:         2000 kB
Anonymous:             0 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
VmFlags: rd ex mr mw me
15a14f000000-15a14f400000 rw-p 00000000 00:00 0
Size:               4096 kB
Rss:                1800 kB
Pss:                1800 kB
Anonymous:          1800 kB
KSM:                   0 kB
Swap:                 12 kB
VmFlags: rd wr mr mw me ac nh
7f0000000000-7f0010000000 rw-p 00000000 fe:00 71 /root/.clone/templates/a: b/memory
Size:             262144 kB
Rss:               60000 kB
Pss:               14000 kB
Shared_Clean:      51000 kB
Private_Clean:      1000 kB
Private_Dirty:      8000 kB
Anonymous:          8100 kB
KSM:                 100 kB
Swap:                500 kB
VmFlags: rd wr mr mw me nr mg
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
Size:                132 kB
Rss:                  12 kB
Pss:                  12 kB
Anonymous:            12 kB
Swap:                  0 kB
VmFlags: rd wr mr mw me gd ac
`

func TestParseSmaps(t *testing.T) {
	ram, err := parseRanges("7f0000000000-7f0010000000")
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseSmaps(recordedSmaps, ram)
	want := Memory{
		Guest: Pages{Mapped: 262144 << 10, Resident: 60000 << 10, Private: 8000 << 10, Shared: 52000 << 10,
			Proportional: 14000 << 10, Merged: 100 << 10, Swapped: 500 << 10},
		Monitor: Pages{Mapped: (3024 + 4096 + 132) << 10, Resident: (2000 + 1800 + 12) << 10, Private: 1812 << 10,
			Shared: 2000 << 10, Proportional: (200 + 1800 + 12) << 10, Swapped: 12 << 10},
	}
	if err != nil || m != want {
		t.Errorf("%+v, %v; want\n%+v", m, err, want)
	}
	if got := m.Cost(); got != 9812<<10 {
		t.Errorf("cost %d", got)
	}
	// The kernel may split the mapping: each part is guest RAM.
	half := strings.Replace(recordedSmaps, "7f0000000000-7f0010000000", "7f0000000000-7f0008000000", 1) +
		"7f0008000000-7f0010000000 rw-p 00000000 fe:00 71 /m\nSize: 8 kB\nRss: 4 kB\nAnonymous: 4 kB\n"
	if m, err := parseSmaps(half, ram); err != nil || m.Guest.Private != 8004<<10 {
		t.Errorf("%+v, %v", m.Guest, err)
	}
	for _, text := range []string{"Rss: many kB\n", "nonsense\n", "zz-7f r\n", "9-1 r\n", recordedSmaps[:2], "Rss: 99999999999999999999 kB\n"} {
		if m, err := parseSmaps(text, ram); err == nil {
			t.Errorf("%q was read: %+v", text, m)
		}
	}
	if _, err := parseRanges("1-2 three"); err == nil {
		t.Error("nonsense is a range")
	}
}

func TestMemoryAdds(t *testing.T) {
	a := Memory{Guest: Pages{1, 2, 3, 4, 5, 6, 7}, MergedShare: 8, PageTables: 9, Kernel: KernelMemory{10, Measured, 1, 2, 3, 4}}
	sum := Memory{}.Add(a).Add(a)
	if sum.Guest != (Pages{2, 4, 6, 8, 10, 12, 14}) || sum.Kernel != (KernelMemory{20, Measured, 2, 4, 6, 8}) || sum.Cost() != 2*a.Cost() {
		t.Errorf("%+v", sum)
	}
	if sum = sum.Add(Memory{Kernel: KernelMemory{Bytes: 1, Source: Estimated}}); sum.Kernel.Source != Estimated {
		t.Errorf("a sum with an estimate in it is %s", sum.Kernel.Source)
	}
}

func FuzzParseSmaps(f *testing.F) {
	f.Add(recordedSmaps, "7f0000000000-7f0010000000")
	f.Add("1-2\nRss: 1 kB\n", "0-ffffffffffffffff 3-4")
	f.Add("Rss: 1125899906842623 kB\n", "")
	f.Fuzz(func(t *testing.T, text, ram string) {
		ranges, err := parseRanges(ram)
		if err != nil {
			return
		}
		m, err := parseSmaps(text, ranges)
		if err != nil && m != (Memory{}) {
			t.Errorf("an error, and %+v", m)
		}
		if len(ranges) == 0 && m.Guest != (Pages{}) {
			t.Errorf("guest RAM where there is none: %+v", m.Guest)
		}
	})
}

const (
	memoryChildVariable = "CONTROL_TEST_MEMORY"

	childRAM     = 41 << 20 // bytes that the child maps as if they were guest RAM; a size that no mapping of the runtime has
	childTouched = 20 << 20 // of them touched
	childOwn     = 9 << 20  // bytes that it has besides
)

// memoryChild is a process with known memory.
func memoryChild() {
	ram, err := unix.Mmap(-1, 0, childRAM, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		panic(err)
	}
	own, err := unix.Mmap(-1, 0, childOwn, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic(err)
	}
	_ = unix.Madvise(ram, unix.MADV_NOHUGEPAGE)
	maps, _ := os.ReadFile("/proc/self/maps")
	for i := 0; i < childTouched; i += 4096 {
		ram[i] = 1
	}
	for i := 0; i < childOwn; i += 4096 {
		own[i] = 1
	}
	for line := range strings.Lines(string(maps)) {
		where, _, _ := strings.Cut(line, " ")
		if r, err := parseRange(where); err == nil && r.end-r.start == childRAM {
			fmt.Println(where)
		}
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func TestMemoryOfAProcessWithKnownMemory(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), memoryChildVariable+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	vm := Info{PID: cmd.Process.Pid, VCPUs: 2, RAM: strings.TrimSpace(line)}
	m, err := MemoryOf(vm)
	if err != nil {
		t.Fatal(err)
	}
	if g := m.Guest; g.Mapped != childRAM || g.Private != childTouched || g.Resident != childTouched || g.Shared != 0 || g.Swapped != 0 {
		t.Errorf("guest RAM: %+v", g)
	}
	if m.Monitor.Private < childOwn || m.Monitor.Private > childOwn+16<<20 || m.Monitor.Mapped < childOwn {
		t.Errorf("the rest: %+v", m.Monitor)
	}
	if m.PageTables < childTouched/512 || m.PageTables > 2<<20 { // an entry of 8 bytes for each 4 KiB
		t.Errorf("page tables: %d", m.PageTables)
	}
	if m.Kernel.Source != Estimated || m.Kernel.Bytes != kernelPerVM+2*kernelPerVCPU+m.PageTables {
		t.Errorf("kernel: %+v", m.Kernel)
	}
	vm.RAM = ""
	if all, err := MemoryOf(vm); err != nil || all.Guest != (Pages{}) || all.Monitor.Private < childOwn+childTouched {
		t.Errorf("without ranges: %+v, %v", all, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := MemoryOf(vm); !errors.Is(err, ErrGone) {
		t.Errorf("no such process: %v", err)
	}
}

func TestHostMemory(t *testing.T) {
	m, err := ReadHostMemory()
	if err != nil || m.Total < m.Available || m.Available == 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := parseMeminfo("MemTotal: 8 kB\nMemFree: 1 kB\nMemAvailable:  4 kB\nSwapTotal: 2 kB\n"); err != nil ||
		m != (HostMemory{Total: 8 << 10, Available: 4 << 10, SwapTotal: 2 << 10}) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := parseMeminfo("MemTotal: x kB\n"); err == nil {
		t.Error("nonsense was read")
	}
}
