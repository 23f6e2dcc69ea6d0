// Package kvm is the kernel's KVM interface, thin and without policy: one method for each ioctl that Clone needs,
// owned descriptors, and the shared run page. Which state is saved in what order is package vmm's business.
//
// Main types in reading order: [System] (/dev/kvm), [VM], [VCPU].
//
// Rules:
//   - unsafe stays in the *_unsafe.go files; the kernel is given no pointer that outlives the call, except the mmapped
//     guest RAM and run pages.
//   - KVM_RUN goes through unix.Syscall, never RawSyscall: the runtime must know that the thread may sleep.
//   - State that nobody here looks into (LAPIC, XSAVE, events, ...) is carried as the kernel's own bytes.
//
// Source: Documentation/virt/kvm/api.rst of Linux; section numbers in comments refer to it.
package kvm
