package acpi

import (
	"encoding/binary"
	"fmt"

	"clone/internal/x86"
)

// Config is what the tables depend on.
type Config struct {
	// VCPUs is the number of vCPUs; vCPU i has APIC id i.
	VCPUs int
	// RAM is the size of guest memory in bytes.
	RAM uint64
	// Slots are the virtio-mmio slots, in order.
	Slots []Slot
	// VMGenIDAddr is the guest-physical address of the 16-byte VM generation identifier, a multiple of 8 in memory that
	// is reserved in the E820 map. Zero leaves the device out.
	VMGenIDAddr uint64
}

// Slot is a virtio-mmio register window of Size bytes at Base, below 4 GiB, and its interrupt.
type Slot struct {
	Base uint64
	Size uint64
	GSI  uint32
}

// Blob is a table and the guest-physical address it goes to.
type Blob struct {
	Addr uint64
	Data []byte
}

// Tables are the tables of one machine.
type Tables struct {
	// RSDP is the address of the root pointer, for boot_params and PVH start info.
	RSDP uint64
	// Blobs do not overlap, and lie between x86.ACPIStart and x86.VMGenIDAddr.
	Blobs []Blob
}

// maxVCPUs is what local APIC entries can name: id 255 is "all".
const maxVCPUs = 255

// Build returns the tables for cfg.
func Build(cfg Config) (Tables, error) {
	if err := cfg.check(); err != nil {
		return Tables{}, err
	}
	const align = 64 // what the FACS asks for, and harmless to the others
	next := x86.ACPIStart + align
	t := Tables{RSDP: x86.ACPIStart}
	add := func(b []byte) (addr uint64) {
		addr = next
		t.Blobs = append(t.Blobs, Blob{addr, b})
		next = (addr + uint64(len(b)) + align - 1) &^ (align - 1)
		return addr
	}
	fixed := add(fadt(add(facs()), add(dsdt(cfg))))
	root := add(xsdt(fixed, add(madt(cfg.VCPUs))))
	t.Blobs = append(t.Blobs, Blob{t.RSDP, rsdp(root)})
	if next > x86.VMGenIDAddr {
		return Tables{}, fmt.Errorf("acpi tables of %d slots and %d vcpus do not fit in %d bytes", len(cfg.Slots), cfg.VCPUs,
			x86.VMGenIDAddr-x86.ACPIStart)
	}
	return t, nil
}

func (cfg Config) check() error {
	if cfg.VCPUs < 1 || cfg.VCPUs > maxVCPUs {
		return fmt.Errorf("acpi tables for %d vcpus: need 1 to %d", cfg.VCPUs, maxVCPUs)
	}
	if len(cfg.Slots) > 256 {
		return fmt.Errorf("acpi tables for %d slots: device names end at 256", len(cfg.Slots))
	}
	for i, s := range cfg.Slots {
		if s.Base < x86.LowRAMEnd || s.Size == 0 || s.Size > x86.HighRAMStart || s.Base > x86.HighRAMStart-s.Size {
			return fmt.Errorf("slot %d: %#x+%#x is not in the device hole", i, s.Base, s.Size)
		}
		if s.GSI >= x86.IOAPICPins {
			return fmt.Errorf("slot %d: there is no gsi %d", i, s.GSI)
		}
	}
	if a := cfg.VMGenIDAddr; a%8 != 0 || a != 0 && a > cfg.RAM-min(cfg.RAM, x86.VMGenIDSize) {
		return fmt.Errorf("vm generation id at %#x: need a multiple of 8 in %d bytes of memory", a, cfg.RAM)
	}
	return nil
}

const headerSize = 36

// table puts the common header before body (ACPI 6.5 §5.2.6).
func table(signature string, revision byte, body []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, headerSize, headerSize+len(body))
	copy(b, signature)
	le.PutUint32(b[4:], uint32(headerSize+len(body)))
	b[8] = revision
	copy(b[10:], "CLONE CLONEVM ") // OEM, OEM table
	le.PutUint32(b[24:], 1)        // OEM revision
	copy(b[28:], "CLNE")           // creator
	le.PutUint32(b[32:], 1)        // creator revision
	b = append(b, body...)
	b[9] = checksum(b)
	return b
}

// checksum is what makes the sum of all bytes zero, where the field itself is zero so far.
func checksum(b []byte) byte {
	var sum byte
	for _, v := range b {
		sum += v
	}
	return -sum
}

// xsdt lists the other tables (§5.2.8); the FADT names the DSDT and the FACS.
func xsdt(addrs ...uint64) []byte {
	var b []byte
	for _, a := range addrs {
		b = binary.LittleEndian.AppendUint64(b, a)
	}
	return table("XSDT", 1, b)
}

// rsdp is the root system description pointer (§5.2.5.3).
func rsdp(xsdt uint64) []byte {
	b := make([]byte, 36)
	copy(b, "RSD PTR ")
	copy(b[9:], "CLONE ")
	b[15] = 2
	binary.LittleEndian.PutUint32(b[20:], uint32(len(b)))
	binary.LittleEndian.PutUint64(b[24:], xsdt)
	b[8] = checksum(b[:20])
	b[32] = checksum(b)
	return b
}
