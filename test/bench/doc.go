// Command bench measures what docs/performance.md claims; `make bench` builds and runs it.
//
// It has three parts. engine and process run natively, on this machine, with a guest of a few instructions: absolute times.
// guest runs stock Debian on a KVM host, an emulated one where this machine is none: everything that is compared is measured
// in the same run of the same host, taken in turns, and only ratios mean anything. QEMU restoring the same guest with KVM is
// the comparison: the same kernel, initrd, image and agent, and its files on the same file system.
//
// It is not a test: a budget that is missed is said plainly and is no failure. The exit status is 1 when a measurement
// itself failed.
//
// Reading order: [Row] is one figure; engine.go, process.go the native parts; host.go starts this program again in an
// emulated host; there, guest.go is the order of the measurements, clone.go and qemu.go the two monitors, qmp.go and vsock.go the
// ways to the latter, memory.go what forks cost.
package main
