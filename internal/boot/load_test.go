package boot

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"clone/internal/x86"
)

func img(data []byte) *Image { return &Image{Path: "vmlinuz", data: data} }

func load(t *testing.T, cfg Config) (*fakeMemory, x86.BootRegs) {
	t.Helper()
	m := &fakeMemory{t: t, size: cfg.RAMSize}
	regs, err := Load(m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m, regs
}

func TestLoadBzImage(t *testing.T) {
	initrd := bytes.Repeat([]byte("initrd"), 1000)
	cfg := Config{Kernel: img(fakeBzImage()), Initrd: initrd, Cmdline: "console=ttyS0", RAMSize: 5 << 30, RSDP: 0xe0000,
		RNGSeed: bytes.Repeat([]byte{0xaa}, 32)}
	m, regs := load(t, cfg)
	if want := x86.LongMode(16<<20+0x200, x86.ZeroPageAddr); regs != want {
		t.Errorf("registers %+v, want %+v", regs, want)
	}
	if got := m.bytes(16<<20, 8); string(got) != "the code" {
		t.Errorf("code %q", got)
	}
	if got := m.bytes(x86.CmdlineAddr, 14); string(got) != "console=ttyS0\x00" {
		t.Errorf("command line %q", got)
	}
	zp := x86.ZeroPageAddr
	for _, tc := range []struct {
		name      string
		got, want uint64
	}{
		{"magic", uint64(m.uint32(zp + hdrMagic)), uint64(binary.LittleEndian.Uint32([]byte(headerMagic)))},
		{"loader", uint64(m.bytes(zp+hdrLoaderType, 1)[0]), 0xff},
		{"code32_start", uint64(m.uint32(zp + hdrCode32Start)), 16 << 20},
		{"cmd_line_ptr", uint64(m.uint32(zp + hdrCmdLinePtr)), x86.CmdlineAddr},
		{"ramdisk_size", uint64(m.uint32(zp + hdrRamdiskSize)), uint64(len(initrd))},
		{"init_size", uint64(m.uint32(zp + hdrInitSize)), 8 << 20},
		{"acpi_rsdp_addr", m.uint64(zp + bpRSDP), 0xe0000},
		{"setup_data", m.uint64(zp + hdrSetupData), x86.SetupDataAddr},
		{"setup_data.next", m.uint64(x86.SetupDataAddr), 0},
		{"setup_data.type", uint64(m.uint32(x86.SetupDataAddr + 8)), setupRNGSeed},
		{"setup_data.len", uint64(m.uint32(x86.SetupDataAddr + 12)), 32},
		{"setup_data.data", m.uint64(x86.SetupDataAddr + 16 + 24), 0xaaaaaaaaaaaaaaaa},
	} {
		if tc.got != tc.want {
			t.Errorf("%s = %#x, want %#x", tc.name, tc.got, tc.want)
		}
	}
	at := uint64(m.uint32(zp + hdrRamdiskImage))
	if at%4096 != 0 || at+uint64(len(initrd)) > 0x80000000 || at+uint64(len(initrd))+4096 < 0x80000000 {
		t.Errorf("initrd at %#x: not in the last pages below the kernel's limit", at)
	}
	if !bytes.Equal(m.bytes(at, len(initrd)), initrd) {
		t.Error("the initrd is not there")
	}
	e820, _ := x86.E820(cfg.RAMSize)
	if n := m.bytes(zp+bpE820Entries, 1)[0]; int(n) != len(e820) {
		t.Fatalf("%d E820 entries", n)
	}
	for i, e := range e820 {
		entry := zp + bpE820Table + 20*uint64(i)
		if m.uint64(entry) != e.Addr || m.uint64(entry+8) != e.Size || m.uint32(entry+16) != uint32(e.Type) {
			t.Errorf("E820 entry %d is not %+v", i, e)
		}
	}
}

func TestLoadWithoutExtras(t *testing.T) {
	m, _ := load(t, Config{Kernel: img(fakeBzImage()), RAMSize: 64 << 20})
	for _, at := range []uint64{hdrRamdiskImage, hdrRamdiskSize, hdrSetupData} {
		if v := m.uint32(x86.ZeroPageAddr + at); v != 0 {
			t.Errorf("zero page %#x = %#x", at, v)
		}
	}
}

// In a small machine the initrd goes below the end of RAM, and one that just fits touches the kernel's end.
func TestLoadInitrdFits(t *testing.T) {
	const room = 40 << 20 // 64 MiB - 24 MiB
	for _, size := range []int{1, 4096, room - 1, room} {
		m, _ := load(t, Config{Kernel: img(fakeBzImage()), Initrd: make([]byte, size), RAMSize: 64 << 20})
		at := uint64(m.uint32(x86.ZeroPageAddr + hdrRamdiskImage))
		if at < 24<<20 || at+uint64(size) > 64<<20 {
			t.Errorf("initrd of %d bytes at %#x", size, at)
		}
	}
}

func TestLoadELF(t *testing.T) {
	bsd := linuxELF()
	bsd.content, bsd.entry = "a kernel with a virtual entry", 0xffffffff80200000
	firmware := linuxELF()
	firmware.content = "a program that is entered in 32-bit mode"
	small := linuxELF()
	small.class, small.machine, small.content = elfClass32, elfMachine86, "a 32-bit kernel with PVH"
	plain := linuxELF()
	plain.pvh, plain.content = 0, "64-bit code without notes"
	for _, tc := range []struct {
		name string
		elf  fakeELF
		pvh  bool
		want x86.BootRegs
	}{
		{"Linux", linuxELF(), false, x86.LongMode(0x1000008, x86.ZeroPageAddr)},
		{"Linux, PVH forced", linuxELF(), true, x86.ProtectedMode(0x1000010, x86.PVHInfoAddr)},
		{"virtual entry", bsd, false, x86.ProtectedMode(0x1000010, x86.PVHInfoAddr)},
		{"PVH, not Linux", firmware, false, x86.ProtectedMode(0x1000010, x86.PVHInfoAddr)},
		{"32-bit", small, false, x86.ProtectedMode(0x1000010, x86.PVHInfoAddr)},
		{"no PVH, not Linux", plain, false, x86.LongMode(0x1000008, x86.ZeroPageAddr)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, regs := load(t, Config{Kernel: img(tc.elf.bytes()), Initrd: []byte("initrd"), Cmdline: "quiet",
				RAMSize: 4 << 30, RSDP: 0xe0000, PVH: tc.pvh})
			if regs != tc.want {
				t.Errorf("registers %+v, want %+v", regs, tc.want)
			}
			if got := m.bytes(0x1000000, len(tc.elf.content)); string(got) != tc.elf.content {
				t.Errorf("loaded %q", got)
			}
			if regs.RBX != 0 {
				checkStartInfo(t, m)
			} else if string(m.bytes(x86.ZeroPageAddr+hdrMagic, 4)) != headerMagic {
				t.Error("the zero page has no magic")
			}
		})
	}
}

func checkStartInfo(t *testing.T, m *fakeMemory) {
	t.Helper()
	si := x86.PVHInfoAddr
	module := m.uint64(si + 16)
	e820, _ := x86.E820(m.size)
	if m.uint32(si) != pvhMagic || m.uint32(si+4) != 1 || m.uint32(si+12) != 1 || m.uint64(si+24) != x86.CmdlineAddr ||
		m.uint64(si+32) != 0xe0000 || m.uint32(si+48) != uint32(len(e820)) {
		t.Errorf("start info % x", m.bytes(si, 56))
	}
	if got := m.bytes(m.uint64(module), int(m.uint64(module+8))); string(got) != "initrd" {
		t.Errorf("module %q", got)
	}
	for i, e := range e820 {
		at := m.uint64(si+40) + 24*uint64(i)
		if m.uint64(at) != e.Addr || m.uint64(at+8) != e.Size || m.uint64(at+16) != uint64(e.Type) {
			t.Errorf("memory map entry %d is not %+v", i, e)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	le := binary.LittleEndian
	bz := func(change func([]byte)) []byte {
		b := fakeBzImage()
		change(b)
		return b
	}
	elf := func(change func(*fakeELF)) []byte {
		f := linuxELF()
		change(&f)
		return f.bytes()
	}
	pad := func(s string) []byte { return append([]byte(s), make([]byte, 1024)...) }
	for _, tc := range []struct {
		name   string
		kernel []byte
		change func(*Config)
		want   string // in the message
	}{
		{"empty", nil, nil, "is empty"},
		{"gzip", pad("\x1f\x8b\x08"), nil, "gzip data"},
		{"arm64", append(make([]byte, 0x38), pad("ARM\x64")...), nil, "arm64"},
		{"html", []byte("\n<!DOCTYPE html><title>404"), nil, "failed download"},
		{"noise", []byte("zzz"), nil, "unknown data that starts with 7a 7a 7a"},
		{"ELF for arm64", elf(func(f *fakeELF) { f.machine = 183 }), nil, "an ELF for arm64"},
		{"short ELF", []byte(elfMagic), nil, "truncated ELF"},
		{"truncated bzImage", fakeBzImage()[:0xa00], nil, "truncated bzImage"},
		{"32-bit bzImage", bz(func(b []byte) { b[hdrXLoadFlags] = 0 }), nil, "without a 64-bit entry"},
		{"old bzImage", bz(func(b []byte) { le.PutUint16(b[hdrVersion:], 0x20a) }), nil, "boot protocol 2.10"},
		{"long header", bz(func(b []byte) { b[hdrJumpLength] = 0xff }), nil, "setup header"},
		{"load address 0", bz(func(b []byte) { le.PutUint64(b[hdrPrefAddress:], 0) }), nil, "between 1 MiB and 3 GiB"},
		{"load address at the end", bz(func(b []byte) { le.PutUint64(b[hdrPrefAddress:], 1<<64-1) }), nil, "between 1 MiB and 3 GiB"},
		{"PVH from a bzImage", fakeBzImage(), func(c *Config) { c.PVH = true }, "needs the ELF vmlinux"},
		{"more than RAM", fakeBzImage(), func(c *Config) { c.RAMSize = 23 << 20 }, "give it 25 MiB or more"},
		{"--mem-mb 1", fakeBzImage(), func(c *Config) { c.RAMSize = 1 << 20 }, "ram of 1048576 bytes"},
		{"initrd over the kernel", fakeBzImage(), func(c *Config) { c.Initrd = make([]byte, 40<<20+1) }, "give the machine 65 MiB or more"},
		{"initrd over the limit", bz(func(b []byte) { le.PutUint32(b[hdrInitrdAddrMax:], 25<<20-1) }),
			func(c *Config) { c.Initrd = make([]byte, 2<<20) }, "too large"},
		{"long command line", fakeBzImage(), func(c *Config) { c.Cmdline = strings.Repeat("x", 2048) }, "2048 bytes, and the kernel takes 2047"},
		{"control characters", fakeBzImage(), func(c *Config) { c.Cmdline = "quiet\x00init=/bin/sh" }, "control characters"},
		{"long seed", fakeBzImage(), func(c *Config) { c.RNGSeed = make([]byte, 513) }, "random seed"},
		{"no PVH entry", elf(func(f *fakeELF) { f.pvh = 0 }), func(c *Config) { c.PVH = true }, "no PVH entry"},
		{"PVH entry outside", elf(func(f *fakeELF) { f.pvh = 0x500 }), func(c *Config) { c.PVH = true }, "in no segment"},
		{"no entry at all", elf(func(f *fakeELF) { f.pvh, f.entry = 0, 1<<63 }), nil, "neither a 64-bit entry"},
		{"segment below 1 MiB", elf(func(f *fakeELF) { f.paddr, f.entry = 0x7000, 0x7000 }), nil, "between 1 MiB and 3 GiB"},
		{"segment of 2^64", elf(func(f *fakeELF) { f.memsz = 1<<64 - 1 }), nil, "between 1 MiB and 3 GiB"},
		{"segment smaller than its content", elf(func(f *fakeELF) { f.memsz = 1 }), nil, "bytes of memory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := Config{Kernel: img(tc.kernel), RAMSize: 64 << 20}
			if tc.change != nil {
				tc.change(&cfg)
			}
			m := &fakeMemory{t: t, size: cfg.RAMSize}
			_, err := Load(m, cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %q, want %q in it", err, tc.want)
			}
			if len(m.writes) != 0 {
				t.Error("memory was written all the same")
			}
		})
	}
	if _, err := Load(&fakeMemory{t: t}, Config{RAMSize: 64 << 20}); err == nil {
		t.Error("no kernel: no error")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(fakeBzImage(), uint32(64), 4096, "quiet", false)
	f.Add(linuxELF().bytes(), uint32(5000), 1<<20, "", true)
	small := linuxELF()
	small.class = elfClass32
	f.Add(small.bytes(), uint32(64), 0, "", false)
	f.Add([]byte("\x1f\x8b"), uint32(0), 0, "\x00", false)
	f.Fuzz(func(t *testing.T, data []byte, ramMiB uint32, initrd int, cmdline string, forcePVH bool) {
		cfg := Config{Kernel: img(data), RAMSize: uint64(ramMiB%8192) << 20, Cmdline: cmdline, PVH: forcePVH,
			Initrd: make([]byte, min(max(initrd, 0), 1<<20)), RNGSeed: []byte("seed")}
		// Segments of a hostile ELF may lie on each other; that is its own affair, so overlaps are not looked at here.
		m := &boundsMemory{fakeMemory{t: t, size: cfg.RAMSize}}
		regs, err := Load(m, cfg)
		if err != nil {
			if strings.Contains(err.Error(), "is not in RAM") {
				t.Fatalf("checked too late: %v", err)
			}
			return
		}
		if regs.RIP < x86.HighMemory || regs.RIP >= x86.LowRAM(cfg.RAMSize) {
			t.Fatalf("entry at %#x", regs.RIP)
		}
	})
}

type boundsMemory struct{ fakeMemory }

func (m *boundsMemory) WriteAt(p []byte, gpa uint64) error {
	m.writes = nil
	return m.fakeMemory.WriteAt(p, gpa)
}
