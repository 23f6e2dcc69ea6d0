// Package legacy holds the devices of a PC that have I/O ports and no bus: a 16550A serial port, the i8042 keyboard
// controller, the MC146818 real-time clock and the ACPI power management block; and one device of ours, in memory, the host's clocks.
//
// It is not a complete PC: there is no keyboard behind the controller, no alarm in the clock, and the interrupt controllers
// and the PIT are the kernel's (KVM_CREATE_IRQCHIP, KVM_CREATE_PIT2).
//
// Reading order: serial.go (Serial) with serial_regs.go, sink.go (Sink, its output), i8042.go (I8042), rtc.go (RTC) with
// rtc_time.go, pm.go (PM), hostclock.go (HostClock). A port that no device has floats: package bus answers for it.
//
// Rules. Read and Write take the absolute port of the first byte (HostClock: the offset) and are called on vCPU threads, several at once: each device
// has its own mutex, and no access ever waits for the world outside. An access of several bytes is one access for each port
// in turn, as on the ISA bus. An interrupt callback is called with the device locked, so it must not call the device; the
// callbacks that end the machine (reset, power off) are called unlocked. Save is a copy of the state; Load replaces it and
// drives the interrupt line to the level that follows from it, high or low, so it comes after the interrupt controllers are
// restored. State fields are plain JSON; Load refuses what no Save could have written.
//
// Specifications: National Semiconductor PC16550D data sheet; IBM PS/2 keyboard controller; Motorola MC146818A data sheet;
// ACPI 6.5 §4.8.
package legacy
