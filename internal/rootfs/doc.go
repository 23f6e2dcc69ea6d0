// Package rootfs builds ext4 root file system images: from a directory tree,
// or a Debian from its archive.
//
// It is not an image format library: it writes raw ext4 with mke2fs
// (e2fsprogs) and bootstraps Debian with debootstrap, because both keep
// ownership, modes, extended attributes, hard links, device nodes and holes,
// and leave a file system that can be written when it is booted read-write.
//
// Reading order: Options says what to build, Create builds it, Event reports
// progress. debian.go runs debootstrap, settle.go turns its tree into a
// machine that boots fast, tree.go measures, ext4.go writes, scratch.go keeps
// half-made work away from the target.
//
// Rules:
//   - the target appears whole or not at all: everything is made in a scratch
//     directory beside it, synced, and renamed;
//   - what debootstrap mounts and starts lives in name spaces of its own, so
//     that nothing of it outlives the call, however the call ends;
//   - no tool is run through a shell with user text in its script.
//
// Formats: ext4 as e2fsprogs writes it; machine-id(5) and
// systemd-getty-generator(8) for what settle.go relies on.
package rootfs
