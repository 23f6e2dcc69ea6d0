// Package testhost runs a command on a machine that has a complete KVM: on this
// machine where the processor offers hardware virtualisation, and otherwise in
// an emulated host.
//
// The emulated host is QEMU's software emulation (TCG) of an AMD processor with
// SVM, a stock Debian cloud kernel, and this machine's own root file system,
// read through virtio-fs under a tmpfs overlay. It has /dev/kvm, vhost-net,
// vhost-vsock, VFIO behind an IOMMU, KSM and userfaultfd. Programs and files are
// where they are here; nothing written there outlives the run, except below the
// directories that [Config] names as writable. It is about twelve times slower
// than hardware: times measured in it are good for ratios, never as absolutes.
//
// It is not a product feature and not a sandbox: the command reads everything
// that root reads on this machine.
//
// Reading order:
//
//   - [Config]: what to run, and where.
//   - [Detect]: hardware or emulation, and why.
//   - [Run]: one command, its output and exit status; [HostError] and
//     [ErrTimeout] tell a failed host and a passed deadline from a failed command.
//   - [FetchKernel]: Debian's cloud kernels, unpacked into the cache.
//   - package inside: the program that is process 1 of the emulated host.
//
// Rules: one processor per emulated host (QEMU 7.2 with several loses a race with
// the kernel's code patching); whoever starts a process ends it by its id; a run
// directory is locked by its owner, so that the next run reaps what a killed one
// left behind.
package testhost
