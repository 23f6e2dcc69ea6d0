package x86

// Segment has the fields of KVM's struct kvm_segment. Limit is in bytes whatever G is.
type Segment struct {
	Base     uint64
	Limit    uint32
	Selector uint16
	Type     uint8
	Present  uint8
	DPL      uint8
	DB       uint8
	S        uint8
	L        uint8
	G        uint8
	AVL      uint8
	Unusable uint8
}

// Table is a descriptor table register.
type Table struct {
	Base  uint64
	Limit uint16
}

// BootRegs is the state of the first vCPU when the kernel is entered. Registers it does not name are as after a reset, and
// general registers it does not name are zero. Interrupts are off (RFLAGS has only its fixed bit).
type BootRegs struct {
	RIP, RSP, RSI, RBX uint64
	RFLAGS             uint64

	CR0, CR3, CR4, EFER uint64

	// CS is code; Data is DS, ES, FS, GS and SS; TR is a task state segment; LDT is unusable.
	CS, Data, TR, LDT Segment
	GDT, IDT          Table
}

// Control register bits (Intel SDM volume 3 §2.5) and EFER bits (§2.2.1).
const (
	cr0PE = 1 << 0
	cr0ET = 1 << 4
	cr0NE = 1 << 5
	cr0WP = 1 << 16
	cr0PG = 1 << 31

	cr4PAE = 1 << 5

	eferLME = 1 << 8
	eferLMA = 1 << 10

	rflagsFixed = 1 << 1
)

// Segment types (Intel SDM volume 3 §3.4.5.1 and §3.5).
const (
	typeData    = 0x3 // read/write, accessed
	typeCode    = 0xb // execute/read, accessed
	typeTSSBusy = 0xb // 32-bit or 64-bit, busy
	typeLDT     = 0x2
)

// LongMode returns the state for Linux' 64-bit entry (boot.rst, "64-bit boot protocol"): long mode, the first 4 GiB mapped
// one to one, flat segments at selectors 0x10 and 0x18, and RSI pointing to the zero page.
func LongMode(rip, zeroPage uint64) BootRegs {
	r := flat(rip)
	r.RSP = BootStackTop
	r.RSI = zeroPage
	r.CR0 |= cr0NE | cr0WP | cr0PG
	r.CR3 = PageTableAddr
	r.CR4 = cr4PAE
	r.EFER = eferLME | eferLMA
	r.CS.L, r.CS.DB = 1, 0
	return r
}

// ProtectedMode returns the state for a PVH entry (Xen docs/misc/pvh.pandoc): 32-bit protected mode without paging, flat
// segments, and EBX pointing to the start info.
func ProtectedMode(rip, startInfo uint64) BootRegs {
	r := flat(rip)
	r.RBX = startInfo
	return r
}

func flat(rip uint64) BootRegs {
	return BootRegs{
		RIP:    rip,
		RFLAGS: rflagsFixed,
		CR0:    cr0PE | cr0ET,
		CS:     Segment{Limit: 0xffffffff, Selector: selCode, Type: typeCode, Present: 1, DB: 1, S: 1, G: 1},
		Data:   Segment{Limit: 0xffffffff, Selector: selData, Type: typeData, Present: 1, DB: 1, S: 1, G: 1},
		TR:     Segment{Limit: 0x67, Selector: selTSS, Type: typeTSSBusy, Present: 1},
		LDT:    Segment{Type: typeLDT, Unusable: 1},
		GDT:    Table{Base: GDTAddr, Limit: gdtEntries*8 - 1},
	}
}
