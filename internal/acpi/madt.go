package acpi

import (
	"encoding/binary"

	"clone/internal/x86"
)

// madt is the multiple APIC description table (ACPI 6.5 §5.2.12).
//
// There is no override for IRQ 0: KVM's default routing connects the PIT to IOAPIC pin 0. The SCI's override says level and
// active high, which is what KVM_IRQ_LINE drives; without it Linux takes the SCI for active low.
func madt(vcpus int) []byte {
	const (
		pcatCompat = 1 // there are two 8259s, to be masked
		enabled    = 1
		allCPUs    = 0xff
		activeHigh = 1 << 0
		level      = 3 << 2
	)
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(x86.LAPICAddr))
	b = le.AppendUint32(b, pcatCompat)
	for i := range vcpus { // processor local APIC
		b = append(b, 0, 8, byte(i), byte(i))
		b = le.AppendUint32(b, enabled)
	}
	b = append(b, 1, 12, 0, 0) // I/O APIC 0
	b = le.AppendUint32(b, uint32(x86.IOAPICAddr))
	b = le.AppendUint32(b, 0)           // its first GSI
	b = append(b, 2, 10, 0, x86.GSISCI) // interrupt source override
	b = le.AppendUint32(b, x86.GSISCI)  //
	b = le.AppendUint16(b, activeHigh|level)
	b = append(b, 4, 6, allCPUs, 0, 0, 1) // local APIC NMI on LINT1
	return table("APIC", 5, b)
}
