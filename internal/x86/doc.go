// Package x86 holds the facts of the x86-64 board as plain values: where everything is in guest-physical address space, the
// E820 map, the processor state a kernel is entered with, and what CPUID tells a guest.
//
// It does no I/O, holds no file descriptor and imports nothing of this module. Package boot writes the tables into memory,
// package acpi describes the same addresses to the guest, and package vmm loads the registers into KVM.
//
// Reading order: layout.go (the memory map), e820.go, entry.go (BootRegs), tables.go (GDT and page tables), msr.go,
// cpuid.go with cpuid_topology.go (FilterCPUID).
//
// Rules: an address or an interrupt of the board is written down here once, and nowhere else. A snapshot holds guests that
// already use these addresses: changing one changes the snapshot format.
//
// Specifications: Intel SDM volume 3 (segments, paging, MSRs) and volume 2 (CPUID), AMD APM volume 3 appendix E (CPUID),
// Linux Documentation/arch/x86/boot.rst (64-bit entry), the Xen PVH start of day ABI.
package x86
