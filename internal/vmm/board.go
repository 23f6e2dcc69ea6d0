package vmm

import (
	"errors"

	"clone/internal/legacy"
	"clone/internal/x86"
)

// board is the machine's port-I/O devices that have state.
type board struct {
	serial *legacy.Serial
	i8042  *legacy.I8042
	rtc    *legacy.RTC
	pm     *legacy.PM
}

// portDevice has absolute port numbers; the bus counts from a range's start.
type portDevice interface {
	Read(port uint16, p []byte)
	Write(port uint16, p []byte)
}

type portRange struct {
	base uint16
	dev  portDevice
}

func (r portRange) Read(offset uint64, p []byte)  { r.dev.Read(r.base+uint16(offset), p) }
func (r portRange) Write(offset uint64, p []byte) { r.dev.Write(r.base+uint16(offset), p) }

func (m *Machine) addBoard() error {
	// A level that KVM does not take cannot be helped from here, and does not happen with an in-kernel irqchip.
	line := func(gsi uint32) func(bool) {
		return func(high bool) { _ = m.vm.IRQLine(gsi, high) }
	}
	m.legacy = board{
		serial: legacy.NewSerial(m.host.Console, line(x86.GSICOM1)),
		i8042:  legacy.NewI8042(func() { m.end(Outcome{Kind: Reboot}) }),
		rtc:    legacy.NewRTC(),
		pm:     legacy.NewPM(line(x86.GSISCI), func() { m.end(Outcome{Kind: PowerOff}) }),
	}
	var errs []error
	for _, r := range []struct {
		base, size uint16
		dev        portDevice
	}{
		{x86.PortCOM1, x86.PortCOM1Len, m.legacy.serial},
		{x86.PortI8042, 1, m.legacy.i8042},
		{x86.PortI8042Cmd, 1, m.legacy.i8042},
		{x86.PortRTC, x86.PortRTCLen, m.legacy.rtc},
		{x86.PortPM1Event, x86.PortPMLen, m.legacy.pm},
	} {
		errs = append(errs, m.ports.Add(uint64(r.base), uint64(r.size), portRange{r.base, r.dev}))
	}
	errs = append(errs, m.mmio.Add(x86.HostClockAddr, x86.HostClockSize, legacy.NewHostClock(m.hostClocks)))
	return errors.Join(errs...)
}

// Input types into the serial port. It waits while the guest does not read, for at most as long as the machine lives.
func (m *Machine) Input(p []byte) { _, _ = m.legacy.serial.Input(p) }

// CloseConsole waits until everything the guest printed has reached the console, which gets nothing more.
func (m *Machine) CloseConsole() { m.legacy.close() }

// PressPowerButton asks the guest to shut down, as the button on a case does.
func (m *Machine) PressPowerButton() { m.legacy.pm.PowerButton() }

func (b *board) save() legacyState {
	return legacyState{Serial: b.serial.Save(), I8042: b.i8042.Save(), RTC: b.rtc.Save(), PM: b.pm.Save()}
}

func (b *board) load(s legacyState) error {
	return errors.Join(b.serial.Load(s.Serial), b.i8042.Load(s.I8042), b.rtc.Load(s.RTC), b.pm.Load(s.PM))
}

func (b *board) close() {
	if b.serial != nil {
		b.serial.Close()
	}
}
