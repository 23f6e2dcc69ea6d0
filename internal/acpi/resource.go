package acpi

import "encoding/binary"

// resourceTemplate is the buffer of a _CRS: descriptors and an end tag (ACPI 6.5 §6.4).
func resourceTemplate(descriptors ...aml) aml {
	return buffer(join(join(descriptors...), aml{0x79, 0}))
}

// memory32Fixed is a read-write range below 4 GiB (§6.4.3.4).
func memory32Fixed(base, size uint32) aml {
	d := aml{0x86, 9, 0, 1}
	d = binary.LittleEndian.AppendUint32(d, base)
	return binary.LittleEndian.AppendUint32(d, size)
}

// interruptEdge is an edge-triggered, active-high interrupt, not shared (§6.4.3.6).
func interruptEdge(gsi uint32) aml {
	const consumer, edge = 1 << 0, 1 << 1
	return binary.LittleEndian.AppendUint32(aml{0x89, 6, 0, consumer | edge, 1}, gsi)
}

// ioPorts is a fixed range of ports, all 16 address bits decoded (§6.4.2.5).
func ioPorts(base, size uint16) aml {
	d := aml{0x47, 1}
	d = binary.LittleEndian.AppendUint16(d, base)
	d = binary.LittleEndian.AppendUint16(d, base)
	return append(d, 1, byte(size))
}

// irqNoFlags is an ISA interrupt: edge-triggered, active high (§6.4.2.1).
func irqNoFlags(irq uint) aml {
	return binary.LittleEndian.AppendUint16(aml{0x22}, 1<<irq)
}
