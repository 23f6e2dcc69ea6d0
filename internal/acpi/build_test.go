package acpi

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"clone/internal/x86"
)

func slots(n int) []Slot {
	out := make([]Slot, n)
	for i := range out {
		out[i].Base, _ = x86.SlotAddr(i)
		out[i].GSI, _ = x86.SlotGSI(i)
		out[i].Size = x86.MMIOSlotSize
	}
	return out
}

func full() Config {
	return Config{VCPUs: 16, RAM: 64 << 20, Slots: slots(x86.MMIOSlots), VMGenIDAddr: x86.VMGenIDAddr}
}

// guest finds tables as a kernel does: from the RSDP, through addresses.
type guest struct {
	t      *testing.T
	tables Tables
}

func (g guest) at(addr uint64) []byte {
	g.t.Helper()
	for _, b := range g.tables.Blobs {
		if b.Addr == addr {
			return b.Data
		}
	}
	g.t.Fatalf("there is no table at %#x", addr)
	return nil
}

// table checks the header and returns the table at addr.
func (g guest) table(addr uint64, signature string) []byte {
	g.t.Helper()
	b := g.at(addr)
	if string(b[:4]) != signature || int(binary.LittleEndian.Uint32(b[4:])) != len(b) || checksum(b) != 0 {
		g.t.Fatalf("%s at %#x: signature %q, %d bytes, length %d, checksum %d", signature, addr, b[:4], len(b),
			binary.LittleEndian.Uint32(b[4:]), checksum(b))
	}
	return b
}

func build(t *testing.T, cfg Config) (g guest, fadt, madt, dsdt []byte) {
	t.Helper()
	tables, err := Build(cfg)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	g = guest{t, tables}
	rsdp := g.at(tables.RSDP)
	if string(rsdp[:8]) != "RSD PTR " || rsdp[15] != 2 || checksum(rsdp[:20]) != 0 || checksum(rsdp) != 0 {
		t.Fatalf("rsdp % x", rsdp)
	}
	xsdt := g.table(le.Uint64(rsdp[24:]), "XSDT")
	fadt = g.table(le.Uint64(xsdt[36:]), "FACP")
	madt = g.table(le.Uint64(xsdt[44:]), "APIC")
	dsdt = g.table(le.Uint64(fadt[140:]), "DSDT")
	if facs := g.at(uint64(le.Uint32(fadt[36:]))); string(facs[:4]) != "FACS" || le.Uint32(fadt[36:])%64 != 0 {
		t.Errorf("facs at %#x: %q", le.Uint32(fadt[36:]), facs[:4])
	}
	return g, fadt, madt, dsdt
}

func TestBuildPlaces(t *testing.T) {
	g, _, _, _ := build(t, full())
	for i, a := range g.tables.Blobs {
		end := a.Addr + uint64(len(a.Data))
		if a.Addr < x86.ACPIStart || end > x86.VMGenIDAddr || a.Addr%16 != 0 {
			t.Errorf("blob %d at %#x-%#x", i, a.Addr, end)
		}
		for j, b := range g.tables.Blobs {
			if i != j && a.Addr < b.Addr+uint64(len(b.Data)) && b.Addr < end {
				t.Errorf("blobs %d and %d overlap", i, j)
			}
		}
	}
}

// Our encoder and Intel's compiler give the same bytes.
func TestDSDTIsWhatIaslCompiles(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "dsdt.aml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := full()
	cfg.Slots = slots(2)
	cfg.Slots[1].GSI = 23
	_, _, _, got := build(t, cfg)
	if got, want := got[headerSize:], want[headerSize:]; !bytes.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("byte %d of %d and %d differs:\n% x\n% x", i, len(got), len(want), got[i:], want[i:])
			}
		}
		t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
}

func TestDSDTDevices(t *testing.T) {
	_, _, _, dsdt := build(t, full())
	if n := bytes.Count(dsdt, []byte("LNRO0005")); n != x86.MMIOSlots {
		t.Errorf("%d slots, want %d", n, x86.MMIOSlots)
	}
	for i, s := range full().Slots {
		if !bytes.Contains(dsdt, append(memory32Fixed(uint32(s.Base), 0x1000), interruptEdge(s.GSI)...)) {
			t.Errorf("slot %d is not described", i)
		}
	}
	cfg := full()
	cfg.VMGenIDAddr = 0
	if _, _, _, dsdt := build(t, cfg); bytes.Contains(dsdt, []byte("VGEN")) || bytes.Contains(dsdt, []byte("ACPI0013")) {
		t.Error("there is a VM generation ID without an address")
	}
}

func TestFADT(t *testing.T) {
	_, fadt, _, _ := build(t, full())
	le := binary.LittleEndian
	if len(fadt) != 276 || fadt[8] != 6 {
		t.Fatalf("%d bytes, revision %d", len(fadt), fadt[8])
	}
	for _, tc := range []struct {
		name         string
		offset, size int
		want         uint64
	}{
		{"SCI_INT", 46, 2, 9},
		{"SMI_CMD", 48, 4, 0},
		{"PM1a_EVT_BLK", 56, 4, 0x600},
		{"PM1a_CNT_BLK", 64, 4, 0x604},
		{"PM_TMR_BLK", 76, 4, 0x608},
		{"CENTURY", 108, 1, 0x32},
		{"IAPC_BOOT_ARCH", 109, 2, 0x5},
		{"flags: power button fixed, not hardware-reduced", 112, 4, 0x1565},
		{"RESET_REG", 116, 4, 0x01000801},
		{"RESET_REG address", 120, 8, 0x64},
		{"RESET_VALUE", 128, 1, 0xfe},
		{"X_PM1a_EVT_BLK", 148, 4, 0x02002001},
		{"X_PM1a_EVT_BLK address", 152, 8, 0x600},
		{"X_PM1a_CNT_BLK", 172, 4, 0x02001001},
		{"X_PM1a_CNT_BLK address", 176, 8, 0x604},
		{"X_PM_TMR_BLK", 208, 4, 0x03002001},
		{"X_PM_TMR_BLK address", 212, 8, 0x608},
	} {
		var b [8]byte
		copy(b[:], fadt[tc.offset:tc.offset+tc.size])
		if got := le.Uint64(b[:]); got != tc.want {
			t.Errorf("%s = %#x, want %#x", tc.name, got, tc.want)
		}
	}
	if le.Uint64(fadt[140:]) != uint64(le.Uint32(fadt[40:])) {
		t.Error("DSDT and X_DSDT differ")
	}
}

func TestMADT(t *testing.T) {
	for _, vcpus := range []int{1, 2, 16, maxVCPUs} {
		cfg := full()
		cfg.VCPUs = vcpus
		_, _, madt, _ := build(t, cfg)
		var kinds [5]int
		for b := madt[44:]; len(b) > 0; b = b[b[1]:] {
			kind, length := b[0], b[1]
			if int(kind) >= len(kinds) || length < 2 || int(length) > len(b) {
				t.Fatalf("entry % x", b)
			}
			switch kind {
			case 0:
				if int(b[3]) != kinds[0] || b[4] != 1 {
					t.Errorf("processor %d: % x", kinds[0], b[:length])
				}
			case 2:
				if want := []byte{2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0}; !bytes.Equal(b[:length], want) {
					t.Errorf("override % x, want % x", b[:length], want)
				}
			}
			kinds[kind]++
		}
		if want := [5]int{vcpus, 1, 1, 0, 1}; kinds != want {
			t.Errorf("%d vcpus: entries %v, want %v", vcpus, kinds, want)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no vcpus":             func(c *Config) { c.VCPUs = 0 },
		"256 vcpus":            func(c *Config) { c.VCPUs = 256 },
		"slot in memory":       func(c *Config) { c.Slots[0].Base = 0x1000 },
		"slot over the hole":   func(c *Config) { c.Slots[0].Base = 0xfffff000; c.Slots[0].Size = 0x2000 },
		"slot without size":    func(c *Config) { c.Slots[0].Size = 0 },
		"gsi without a pin":    func(c *Config) { c.Slots[0].GSI = 24 },
		"too many slots":       func(c *Config) { c.Slots = slots(257) },
		"generation id odd":    func(c *Config) { c.VMGenIDAddr++ },
		"generation id beyond": func(c *Config) { c.VMGenIDAddr = c.RAM - 8 },
		"memory too small":     func(c *Config) { c.RAM = 8; c.VMGenIDAddr = 8 },
	} {
		cfg := full()
		change(&cfg)
		if _, err := Build(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzBuild(f *testing.F) {
	f.Add(2, uint64(64<<20), uint64(0xd0000000), uint64(0x1000), uint32(5), uint8(16), uint64(0xff000))
	f.Fuzz(func(t *testing.T, vcpus int, ram, base, size uint64, gsi uint32, n uint8, genID uint64) {
		cfg := Config{VCPUs: vcpus, RAM: ram, VMGenIDAddr: genID}
		for range n {
			cfg.Slots = append(cfg.Slots, Slot{base, size, gsi})
		}
		tables, err := Build(cfg)
		if err != nil {
			return
		}
		for _, b := range tables.Blobs {
			if b.Addr < x86.ACPIStart || b.Addr+uint64(len(b.Data)) > x86.VMGenIDAddr {
				t.Fatalf("table of %d bytes at %#x", len(b.Data), b.Addr)
			}
		}
	})
}
