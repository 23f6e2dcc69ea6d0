package x86

import "fmt"

// E820Type is the type of a range in the E820 map (ACPI 6.5 §15, table 15.7).
type E820Type uint32

// The E820 types this board uses.
const (
	E820RAM      E820Type = 1
	E820Reserved E820Type = 2
)

// E820Entry is one range of the E820 map: Addr and Size in bytes.
type E820Entry struct {
	Addr uint64
	Size uint64
	Type E820Type
}

// LowRAM returns how many of ramSize bytes lie below the device hole.
func LowRAM(ramSize uint64) uint64 { return min(ramSize, LowRAMEnd) }

// HighRAM returns how many of ramSize bytes lie from 4 GiB on.
func HighRAM(ramSize uint64) uint64 { return ramSize - LowRAM(ramSize) }

// E820 returns the map of a machine with ramSize bytes of RAM, ascending and without overlaps.
// Ranges it does not name (video memory, the device hole) are devices or nothing.
func E820(ramSize uint64) ([]E820Entry, error) {
	if ramSize < MinRAM || ramSize%4096 != 0 {
		return nil, fmt.Errorf("ram of %d bytes: need a multiple of 4096, and at least %d", ramSize, MinRAM)
	}
	span := func(from, to uint64, t E820Type) E820Entry { return E820Entry{from, to - from, t} }
	m := []E820Entry{
		span(0, IdentityPage, E820RAM),
		span(IdentityPage, IdentityPage+IdentityPageSize, E820Reserved),
		span(IdentityPage+IdentityPageSize, EBDAStart, E820RAM),
		span(EBDAStart, 0xa0000, E820Reserved),
		// Reserved and not "ACPI reclaimable": a guest that reclaimed it would overwrite the VM generation identifier.
		span(ACPIStart, ACPIEnd, E820Reserved),
		span(HighMemory, LowRAM(ramSize), E820RAM),
	}
	if high := HighRAM(ramSize); high > 0 {
		m = append(m, E820Entry{HighRAMStart, high, E820RAM})
	}
	return m, nil
}
