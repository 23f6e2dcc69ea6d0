package x86

// RAM and the device hole (all values are guest-physical addresses or sizes in bytes).
const (
	// LowRAMEnd is the end of the RAM that lies below the device hole.
	LowRAMEnd uint64 = 3 << 30
	// HighRAMStart is where RAM goes on above the hole.
	HighRAMStart uint64 = 4 << 30
	// MinRAM is the smallest RAM the layout works with: the first MiB and something for a kernel.
	MinRAM uint64 = 2 << 20
)

// The first MiB. Everything here but IdentityPage and the ACPI area is free again once the kernel runs.
const (
	// GDTAddr is the boot global descriptor table.
	GDTAddr uint64 = 0x500
	// IdentityPage tells a fork who it is. Reserved in the E820 map.
	IdentityPage     uint64 = 0x6000
	IdentityPageSize uint64 = 0x1000
	// ZeroPageAddr is Linux' struct boot_params.
	ZeroPageAddr uint64 = 0x7000
	ZeroPageSize uint64 = 0x1000
	// BootStackTop is the initial stack pointer of a 64-bit entry; the stack grows down in the page at 0x8000.
	BootStackTop uint64 = 0x8ff0
	// PageTableAddr is the first of PageTablePages pages of the boot page tables.
	PageTableAddr  uint64 = 0x9000
	PageTablePages uint64 = 6
	// PVHInfoAddr is the PVH struct hvm_start_info, followed by what it points to.
	PVHInfoAddr uint64 = 0xf000
	PVHInfoSize uint64 = 0x1000
	// SetupDataAddr is the linked list of Linux' struct setup_data.
	SetupDataAddr uint64 = 0x10000
	SetupDataSize uint64 = 0x1000
	// CmdlineAddr is the kernel command line, NUL-terminated; CmdlineSize counts the NUL.
	CmdlineAddr uint64 = 0x20000
	CmdlineSize uint64 = 0x10000
	// EBDAStart ends the conventional memory a guest may use.
	EBDAStart uint64 = 0x9fc00
	// ACPIStart is the RSDP; the other tables follow it. The area up to ACPIEnd is reserved in the E820 map.
	ACPIStart uint64 = 0xe0000
	ACPIEnd   uint64 = 0x100000
	// VMGenIDAddr is the 16-byte VM generation identifier, alone in the last page of the ACPI area.
	VMGenIDAddr uint64 = 0xff000
	VMGenIDSize uint64 = 16
	// HighMemory is the first address a kernel may be loaded at.
	HighMemory uint64 = 0x100000
)

// The device hole.
const (
	// MMIOSlotBase is the register window of virtio-mmio slot 0; slot i follows i*MMIOSlotSize later.
	MMIOSlotBase uint64 = 0xd0000000
	MMIOSlotSize uint64 = 0x1000
	MMIOSlots           = 16
	// HostClockAddr is the page of legacy.HostClock, a device of ours.
	HostClockAddr uint64 = 0xd0010000
	HostClockSize uint64 = 0x1000
	IOAPICAddr    uint64 = 0xfec00000
	LAPICAddr     uint64 = 0xfee00000
	// TSSAddr is for KVM_SET_TSS_ADDR (three pages), IdentityMapAddr for KVM_SET_IDENTITY_MAP_ADDR (one page before them).
	TSSAddr         uint64 = 0xfffbd000
	IdentityMapAddr uint64 = 0xfffbc000
)

// Interrupts, as global system interrupt numbers. GSI n is pin n of the one IOAPIC for every n, which is KVM's default
// routing; there is no IRQ 0 → GSI 2 override.
const (
	GSICOM1 = 4
	GSIRTC  = 8
	// GSISCI is level-triggered and active high.
	GSISCI = 9
	// GSIGED is the edge that says "the VM generation changed".
	GSIGED = 13
	// IOAPICPins is the number of GSIs.
	IOAPICPins = 24
)

// slotGSI leaves out 0-4, 8, 9 and 13, which have owners.
var slotGSI = [MMIOSlots]uint32{5, 6, 7, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}

// SlotAddr returns the guest-physical address of virtio-mmio slot i. ok is false when there is no such slot.
func SlotAddr(i int) (gpa uint64, ok bool) {
	if i < 0 || i >= MMIOSlots {
		return 0, false
	}
	return MMIOSlotBase + uint64(i)*MMIOSlotSize, true
}

// SlotGSI returns the interrupt of virtio-mmio slot i. ok is false when there is no such slot.
func SlotGSI(i int) (gsi uint32, ok bool) {
	if i < 0 || i >= MMIOSlots {
		return 0, false
	}
	return slotGSI[i], true
}

// I/O ports.
const (
	PortCOM1     uint16 = 0x3f8
	PortCOM1Len  uint16 = 8
	PortI8042    uint16 = 0x60 // data; PortI8042Cmd is status and command
	PortI8042Cmd uint16 = 0x64
	PortRTC      uint16 = 0x70
	PortRTCLen   uint16 = 2
	PortPM1Event uint16 = 0x600 // PM1a_EVT_BLK: status, then enable
	PortPM1Cnt   uint16 = 0x604 // PM1a_CNT_BLK
	PortPMTimer  uint16 = 0x608 // PM_TMR_BLK
	PortPMLen    uint16 = 0xc   // the three blocks together, from PortPM1Event
)

// SleepTypeS5 is the value that \_S5 gives for SLP_TYPa, and that PM1 control takes as "power off".
const SleepTypeS5 = 5
