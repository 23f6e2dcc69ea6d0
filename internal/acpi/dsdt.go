package acpi

import (
	"fmt"

	"clone/internal/x86"
)

// dsdt describes what a guest cannot find by asking (ACPI 6.5 §5.2.11.1).
func dsdt(cfg Config) []byte {
	devices := []aml{com1(), rtc(), reserved()}
	for i, s := range cfg.Slots {
		devices = append(devices, slotDevice(i, s))
	}
	if cfg.VMGenIDAddr != 0 {
		devices = append(devices, vmGenID(cfg.VMGenIDAddr), eventDevice())
	}
	return table("DSDT", 2, join(
		name(`\_S5`, pkg(integer(x86.SleepTypeS5), integer(0), integer(0), integer(0))),
		scope(`\_SB`, devices...),
	))
}

func com1() aml {
	return device("COM1",
		name("_HID", eisaID("PNP0501")),
		name("_UID", integer(1)),
		name("_CRS", resourceTemplate(ioPorts(x86.PortCOM1, x86.PortCOM1Len), irqNoFlags(x86.GSICOM1))))
}

func rtc() aml {
	return device("RTC",
		name("_HID", eisaID("PNP0B00")),
		name("_CRS", resourceTemplate(ioPorts(x86.PortRTC, x86.PortRTCLen), irqNoFlags(x86.GSIRTC))))
}

// reserved keeps the PM block and the host's clocks from being given to somebody else.
func reserved() aml {
	return device("PWRR",
		name("_HID", eisaID("PNP0C02")),
		name("_CRS", resourceTemplate(ioPorts(x86.PortPM1Event, x86.PortPMLen), memory32Fixed(uint32(x86.HostClockAddr), uint32(x86.HostClockSize)))))
}

// slotDevice is a virtio-mmio transport. LNRO0005 is the id that Linux' virtio_mmio driver has.
func slotDevice(i int, s Slot) aml {
	return device(fmt.Sprintf("VR%02X", i),
		name("_HID", str("LNRO0005")),
		name("_UID", integer(uint64(i))),
		name("_CCA", integer(1)),
		name("_CRS", resourceTemplate(memory32Fixed(uint32(s.Base), uint32(s.Size)), interruptEdge(s.GSI))))
}

// vmGenID is the VM generation ID device. Linux matches either compatible id, by letters that it makes upper case.
func vmGenID(gpa uint64) aml {
	return device("VGEN",
		name("_HID", str("CLNE0001")),
		name("_CID", pkg(str("VM_Gen_Counter"), str("VMGENCTR"))),
		name("_DDN", str("VM_Gen_Counter")),
		name("ADDR", pkg(integer(gpa&0xffffffff), integer(gpa>>32))))
}

// eventDevice passes its interrupt on as "the generation changed" (ACPI 6.5 §5.6.9).
func eventDevice() aml {
	return device("GED",
		name("_HID", str("ACPI0013")),
		name("_CRS", resourceTemplate(interruptEdge(x86.GSIGED))),
		method("_EVT", 1,
			ifThen(equal(arg0(), integer(x86.GSIGED)), notify(`\_SB.VGEN`, 0x80))))
}
