package x86

import "encoding/binary"

// Selectors of the boot GDT. Linux asks for __BOOT_CS at 0x10 and __BOOT_DS at 0x18.
const (
	selCode = 0x10
	selData = 0x18
	selTSS  = 0x20

	gdtEntries = 6 // a TSS descriptor takes two in long mode
)

// BootGDT returns the descriptor table that goes to GDTAddr and describes the segments of r.
func BootGDT(r BootRegs) []byte {
	gdt := make([]byte, gdtEntries*8)
	for _, s := range []Segment{r.CS, r.Data, r.TR} {
		binary.LittleEndian.PutUint64(gdt[s.Selector:], descriptor(s))
	}
	return gdt
}

// descriptor encodes a segment descriptor (Intel SDM volume 3 §3.4.5). The upper half of a long-mode TSS descriptor is zero,
// because the base is.
func descriptor(s Segment) uint64 {
	limit := uint64(s.Limit)
	if s.G == 1 {
		limit >>= 12
	}
	flag := func(v uint8, bit uint) uint64 { return uint64(v&1) << bit }
	return limit&0xffff | limit>>16&0xf<<48 |
		s.Base&0xffffff<<16 | s.Base>>24&0xff<<56 |
		uint64(s.Type&0xf)<<40 | uint64(s.DPL&3)<<45 |
		flag(s.S, 44) | flag(s.Present, 47) | flag(s.AVL, 52) | flag(s.L, 53) | flag(s.DB, 54) | flag(s.G, 55)
}

// Page table bits (Intel SDM volume 3 §4.5).
const (
	ptePresent  = 1 << 0
	pteWritable = 1 << 1
	ptePageSize = 1 << 7
)

// BootPageTables returns the tables that go to PageTableAddr: the first 4 GiB mapped one to one with pages of 2 MiB.
// Pages of 1 GiB would need two tables fewer, and a processor that has them.
func BootPageTables() []byte {
	const page, entries = 4096, 512
	t := make([]byte, PageTablePages*page)
	put := func(table, i int, v uint64) { binary.LittleEndian.PutUint64(t[table*page+i*8:], v) }
	put(0, 0, PageTableAddr+page|ptePresent|pteWritable)
	for dir := range 4 {
		put(1, dir, PageTableAddr+uint64(2+dir)*page|ptePresent|pteWritable)
		for i := range entries {
			put(2+dir, i, uint64(dir*entries+i)<<21|ptePresent|pteWritable|ptePageSize)
		}
	}
	return t
}
