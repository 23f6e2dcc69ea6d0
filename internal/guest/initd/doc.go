// Package initd is the body of clone-init, PID 1 of the generated initrd: it
// loads the kernel's modules, mounts the root disk (or keeps the initrd),
// starts the guest agent, and becomes the distribution's own init.
//
// It is not an init system: where the root file system brings one, nothing of
// this package stays in memory. Where there is none, it stays as PID 1, reaps,
// and powers the machine off when it is told to.
//
// Reading order: Run (run.go) is the whole story; setup.go makes /proc, /sys,
// /dev; module.go loads; disk.go waits for the root disk and mounts it;
// overlay.go puts a writable layer over it; switch.go makes it the root and
// frees the initrd; agent.go starts the agent out of a memfd, so that nothing
// is installed in the image; handover.go execs; reaper.go is PID 1 for those
// who have no init; poweroff.go ends the machine; loopback.go brings lo up.
// Package bootconf holds what the host wrote.
//
// Rules: every failure is one line on the console and a reset, never a guest
// that hangs; nothing here imports fmt or encoding/json (the program is in
// every guest's memory); whatever the image holds (links, odd files) is looked
// at only after the root changed, so that it cannot lead outside itself.
//
// Specifications: Documentation/filesystems/ramfs-rootfs-initramfs.rst and
// overlayfs.rst of Linux; signals to PID 1 as systemd(1) and busybox have them.
package initd
