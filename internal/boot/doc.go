// Package boot puts a kernel, its initrd and its command line into guest memory, with everything that a kernel expects from
// firmware, and says in which state the first vCPU has to start.
//
// It runs no vCPU, decompresses nothing and knows no file system. Where everything goes is package x86's.
//
// Reading order: image.go (Image, ReadImage), load.go (Config, Load), bzimage.go and elf.go (the two kinds of kernel),
// zeropage.go and pvh.go (the two ways to tell a kernel about the machine), initrd.go, version.go (KernelVersion), cmdline.go
// (Cmdline).
//
// Rules: a file is read once, and the bytes that were hashed are the bytes that are loaded. Kernels come from strangers: every
// offset and size in them is checked before it is used, and nothing is written before everything is known to fit. Memory is
// expected to be fresh: what an ELF segment wants zeroed is not written.
//
// Which entry is taken. A bzImage is entered at its 64-bit entry. A Linux vmlinux is as well, although it may offer PVH too:
// the zero page can say more (random seed). PVH is for kernels that offer nothing else, and for Config.PVH.
//
// Specifications: Linux Documentation/arch/x86/boot.rst and zero-page.rst, System V ABI chapter 5 (ELF), Xen
// docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h.
package boot
