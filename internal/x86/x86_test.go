package x86

import (
	"encoding/binary"
	"testing"
)

func TestE820(t *testing.T) {
	for _, tc := range []struct {
		name      string
		ram       uint64
		low, high uint64 // end of low RAM, size of high RAM
	}{
		{"64 MiB", 64 << 20, 64 << 20, 0},
		{"3 GiB", 3 << 30, 3 << 30, 0},
		{"one page over the hole", 3<<30 + 4096, 3 << 30, 4096},
		{"5 GiB", 5 << 30, 3 << 30, 2 << 30},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := E820(tc.ram)
			if err != nil {
				t.Fatal(err)
			}
			var end, low, high uint64
			for _, e := range m {
				if e.Addr < end || e.Size == 0 {
					t.Fatalf("range %#x+%#x starts before %#x or is empty", e.Addr, e.Size, end)
				}
				end = e.Addr + e.Size
				if e.Type == E820RAM && e.Addr >= HighRAMStart {
					high += e.Size
				} else if e.Type == E820RAM {
					low = end
				}
			}
			if low != tc.low || high != tc.high {
				t.Errorf("low RAM ends at %#x, %#x bytes of high RAM; want %#x, %#x", low, high, tc.low, tc.high)
			}
			for _, gpa := range []uint64{IdentityPage, VMGenIDAddr, ACPIStart, MMIOSlotBase, LAPICAddr} {
				if isRAM(m, gpa) {
					t.Errorf("%#x is RAM to the guest", gpa)
				}
			}
			for _, gpa := range []uint64{ZeroPageAddr, CmdlineAddr, HighMemory} {
				if !isRAM(m, gpa) {
					t.Errorf("%#x is not RAM", gpa)
				}
			}
		})
	}
	for _, ram := range []uint64{0, 1 << 20, 64<<20 + 1} {
		if _, err := E820(ram); err == nil {
			t.Errorf("no error for %d bytes of RAM", ram)
		}
	}
}

func isRAM(m []E820Entry, gpa uint64) bool {
	for _, e := range m {
		if gpa >= e.Addr && gpa-e.Addr < e.Size {
			return e.Type == E820RAM
		}
	}
	return false
}

// Nothing in the first MiB lies on something else.
func TestLayoutDisjoint(t *testing.T) {
	ranges := []struct {
		name      string
		from, len uint64
	}{
		{"GDT", GDTAddr, gdtEntries * 8},
		{"identity page", IdentityPage, IdentityPageSize},
		{"zero page", ZeroPageAddr, ZeroPageSize},
		{"stack", 0x8000, 0x1000},
		{"page tables", PageTableAddr, PageTablePages * 4096},
		{"PVH", PVHInfoAddr, PVHInfoSize},
		{"setup data", SetupDataAddr, SetupDataSize},
		{"command line", CmdlineAddr, CmdlineSize},
		{"EBDA", EBDAStart, 0x400},
		{"ACPI", ACPIStart, VMGenIDAddr - ACPIStart},
		{"VM generation id", VMGenIDAddr, 0x1000},
		{"kernel", HighMemory, 1 << 20},
	}
	var end uint64
	for _, r := range ranges {
		if r.from < end {
			t.Errorf("%s at %#x starts before %#x", r.name, r.from, end)
		}
		end = r.from + r.len
	}
}

func TestSlots(t *testing.T) {
	used := map[uint32]bool{0: true, 1: true, 2: true, GSICOM1: true, GSIRTC: true, GSISCI: true, GSIGED: true}
	for i := range MMIOSlots {
		gsi, ok := SlotGSI(i)
		if !ok || used[gsi] || gsi >= IOAPICPins {
			t.Errorf("slot %d: gsi %d is taken, or no pin", i, gsi)
		}
		used[gsi] = true
		if gpa, ok := SlotAddr(i); !ok || gpa < LowRAMEnd || gpa+MMIOSlotSize > IOAPICAddr {
			t.Errorf("slot %d: %#x is not in the hole", i, gpa)
		}
	}
	for _, i := range []int{-1, MMIOSlots} {
		if _, ok := SlotAddr(i); ok {
			t.Errorf("slot %d has an address", i)
		}
		if _, ok := SlotGSI(i); ok {
			t.Errorf("slot %d has a gsi", i)
		}
	}
}

// The descriptors are compared with the values that Linux' own boot code has in its GDT.
func TestBootGDT(t *testing.T) {
	for _, tc := range []struct {
		name       string
		regs       BootRegs
		code, data uint64
	}{
		{"long mode", LongMode(0x1000200, ZeroPageAddr), 0x00af9b000000ffff, 0x00cf93000000ffff},
		{"protected mode", ProtectedMode(0x1000000, PVHInfoAddr), 0x00cf9b000000ffff, 0x00cf93000000ffff},
	} {
		gdt := BootGDT(tc.regs)
		if len(gdt) != int(tc.regs.GDT.Limit)+1 {
			t.Errorf("%s: %d bytes, limit %#x", tc.name, len(gdt), tc.regs.GDT.Limit)
		}
		if got := binary.LittleEndian.Uint64(gdt[0x10:]); got != tc.code {
			t.Errorf("%s: code %#x, want %#x", tc.name, got, tc.code)
		}
		if got := binary.LittleEndian.Uint64(gdt[0x18:]); got != tc.data {
			t.Errorf("%s: data %#x, want %#x", tc.name, got, tc.data)
		}
		if got := binary.LittleEndian.Uint64(gdt[0x20:]); got != 0x00008b0000000067 {
			t.Errorf("%s: task %#x", tc.name, got)
		}
	}
}

func TestBootRegs(t *testing.T) {
	l := LongMode(0x1000200, ZeroPageAddr)
	if l.RIP != 0x1000200 || l.RSI != ZeroPageAddr || l.CR0 != 0x80010031 || l.CR4 != 0x20 || l.EFER != 0x500 || l.CR3 != PageTableAddr {
		t.Errorf("long mode: %+v", l)
	}
	p := ProtectedMode(0x1000a30, PVHInfoAddr)
	if p.RIP != 0x1000a30 || p.RBX != PVHInfoAddr || p.CR0 != 0x11 || p.CR4 != 0 || p.EFER != 0 || p.CR3 != 0 {
		t.Errorf("protected mode: %+v", p)
	}
}

// A walk through the page tables gives every address below 4 GiB itself.
func TestBootPageTables(t *testing.T) {
	tables := BootPageTables()
	entry := func(table, i uint64) uint64 {
		return binary.LittleEndian.Uint64(tables[table-PageTableAddr+i*8:])
	}
	const addr = 0x000ffffffffff000
	for _, va := range []uint64{0, 0x7000, 0x1000200, 0x3fffffff, 0x40000000, LowRAMEnd, 0xfee00000, 0xffffffff} {
		l4 := entry(PageTableAddr, va>>39)
		l3 := entry(l4&addr, va>>30&511)
		l2 := entry(l3&addr, va>>21&511)
		if l4&3 != 3 || l3&0x83 != 3 || l2&0x83 != 0x83 {
			t.Fatalf("%#x: entries %#x %#x %#x", va, l4, l3, l2)
		}
		if pa := l2&^0x1fffff | va&0x1fffff; pa != va {
			t.Errorf("%#x maps to %#x", va, pa)
		}
	}
	if entry(PageTableAddr, 1) != 0 {
		t.Error("more than the first 512 GiB are mapped")
	}
}

func TestBootMSRs(t *testing.T) {
	want := map[uint32]uint64{0x1a0: 1, 0x2ff: 0x806}
	for _, m := range BootMSRs() {
		if want[m.Index] != m.Value {
			t.Errorf("msr %#x = %#x", m.Index, m.Value)
		}
		delete(want, m.Index)
	}
	if len(want) != 0 {
		t.Errorf("not set: %v", want)
	}
}
