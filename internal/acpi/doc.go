// Package acpi builds the ACPI tables that describe the board to a guest: RSDP, XSDT, FADT, FACS, MADT and DSDT, as bytes with
// the addresses they belong at.
//
// It is no interpreter, and it writes no memory: the caller does. The addresses and interrupts it describes are those of
// package x86, the only one it imports. The registers behind them are package legacy's.
//
// Reading order: build.go (Config, Build, Tables), fadt.go, madt.go, dsdt.go, then aml.go and resource.go, a small encoder.
//
// What the tables say, and what the rest of the machine keeps to:
//   - not hardware-reduced: PM1a event and control blocks and the PM timer, SCI level-triggered and active high on GSI 9;
//   - ACPI mode from the start (no SMI command), a fixed power button, no sleep button, soft-off S5 only;
//   - reset by writing 0xfe to port 0x64;
//   - GSI n is IOAPIC pin n, IRQ 0 included: there is no override but the SCI's;
//   - no keyboard controller to probe, no VGA;
//   - a device LNRO0005 for every virtio-mmio slot, filled or not;
//   - the VM generation ID device, told of a change by an edge on GSI 13 through a generic event device.
//
// Specifications: ACPI 6.5 (chapters 5, 6, 19 and 20), Microsoft "Virtual Machine Generation ID".
package acpi
