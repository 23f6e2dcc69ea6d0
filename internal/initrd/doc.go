// Package initrd makes the initial RAM disk that boots a stock distribution
// kernel under Clone: clone-init as /init, the guest agent, the modules of the
// very kernel that is booted, and a configuration file.
//
// It is not a general initramfs tool: nothing is taken from the host but the
// kernel's modules, and a user's own --initrd is never touched.
//
// Reading order: Config and Build (build.go); FindModules (find.go) looks for
// a kernel's modules; index (index.go) reads depmod's files; needs (needs.go)
// are the drivers a guest must or may have, resolve (resolve.go) puts them with what
// they depend on in the order of loading; decompress.go unpacks them; cpio.go
// writes the archive; programs.go holds the guest programs. Package bootconf
// is what both sides of the archive agree on.
//
// Rules: the same input gives the same bytes, for measured boot; a driver that
// the machine cannot do without is either built into the kernel, or in the
// archive, or an error here that names its configuration option: never a
// guest that hangs.
//
// Formats: newc cpio (Documentation/driver-api/early-userspace/buffer-format.rst
// of Linux); modules.dep(5), modprobe.d(5) for softdep and alias.
package initrd
