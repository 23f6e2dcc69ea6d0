package acpi

import (
	"encoding/binary"

	"clone/internal/x86"
)

// Fixed feature flags (ACPI 6.5 table 5.10) that are set.
const (
	fadtWBINVD      = 1 << 0
	fadtC1          = 1 << 2
	fadtNoSleepBtn  = 1 << 5 // "control method": and the DSDT has none. The power button, bit 4, is fixed.
	fadtRTCNotFixed = 1 << 6
	fadtTimer32     = 1 << 8
	fadtResetReg    = 1 << 10
	fadtHeadless    = 1 << 12
)

// Boot architecture flags (table 5.11) that are set. The keyboard controller's, bit 1, is not: with it Linux would look for a
// keyboard, and reboots through port 0x64 without it as well.
const (
	bootLegacyDevices = 1 << 0
	bootNoVGA         = 1 << 2
)

const (
	resetValue = 0xfe
	rtcCentury = 0x32 // index of legacy.RTC's century register
)

// fadt is the fixed ACPI description table (ACPI 6.5 §5.2.9). Offsets are the specification's; fields left out are zero:
// no SMI command (the machine is in ACPI mode always), no general-purpose events, no second PM1 block.
func fadt(facs, dsdt uint64) []byte {
	le := binary.LittleEndian
	b := make([]byte, 276)
	le.PutUint32(b[36:], uint32(facs))
	le.PutUint32(b[40:], uint32(dsdt))
	le.PutUint16(b[46:], x86.GSISCI)
	le.PutUint32(b[56:], uint32(x86.PortPM1Event))
	le.PutUint32(b[64:], uint32(x86.PortPM1Cnt))
	le.PutUint32(b[76:], uint32(x86.PortPMTimer))
	b[88], b[89], b[91] = 4, 2, 4 // lengths of the three blocks
	le.PutUint16(b[96:], 0xffff)  // no C2
	le.PutUint16(b[98:], 0xffff)  // no C3
	b[108] = rtcCentury
	le.PutUint16(b[109:], bootLegacyDevices|bootNoVGA)
	le.PutUint32(b[112:], fadtWBINVD|fadtC1|fadtNoSleepBtn|fadtRTCNotFixed|fadtTimer32|fadtResetReg|fadtHeadless)
	putPort(b[116:], x86.PortI8042Cmd, 8)
	b[128] = resetValue
	b[131] = 5 // minor version
	le.PutUint64(b[140:], dsdt)
	putPort(b[148:], x86.PortPM1Event, 32)
	putPort(b[172:], x86.PortPM1Cnt, 16)
	putPort(b[208:], x86.PortPMTimer, 32)
	return table("FACP", 6, b[headerSize:])
}

// putPort writes a generic address structure (§5.2.3.2) for width bits of ports. PM1 events are two words, so nothing but the
// timer is accessed by more than a word.
func putPort(b []byte, port uint16, width byte) {
	access := map[byte]byte{8: 1, 16: 2, 32: 2}[width]
	if port == x86.PortPMTimer {
		access = 3
	}
	b[0], b[1], b[2], b[3] = 1, width, 0, access
	binary.LittleEndian.PutUint64(b[4:], uint64(port))
}

// facs is the firmware ACPI control structure (§5.2.10): the global lock's home, with nobody on the other side.
func facs() []byte {
	b := make([]byte, 64)
	copy(b, "FACS")
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	b[32] = 2 // version
	return b
}
