package vmm

import (
	"clone/internal/acpi"
	"clone/internal/guestmem"
	"clone/internal/x86"
)

// WriteACPI puts the ACPI tables of a machine with vcpus processors into mem, and returns the address of the root
// pointer for the boot protocol. They declare every virtio-mmio slot, filled or not.
func WriteACPI(mem *guestmem.Memory, vcpus int) (rsdp uint64, err error) {
	cfg := acpi.Config{VCPUs: vcpus, RAM: mem.Size(), VMGenIDAddr: x86.VMGenIDAddr}
	for i := range x86.MMIOSlots {
		base, _ := x86.SlotAddr(i)
		gsi, _ := x86.SlotGSI(i)
		cfg.Slots = append(cfg.Slots, acpi.Slot{Base: base, Size: x86.MMIOSlotSize, GSI: gsi})
	}
	t, err := acpi.Build(cfg)
	if err != nil {
		return 0, err
	}
	for _, b := range t.Blobs {
		if err := mem.WriteAt(b.Data, b.Addr); err != nil {
			return 0, err
		}
	}
	return t.RSDP, nil
}
