// Package bootconf is what the host and PID 1 of the generated initrd agree on:
// where things lie in the archive, the configuration file, the module list,
// and how a file system is recognised.
//
// It is plain values and pure functions: no I/O, and nothing but a few small
// packages of the standard library, since clone-init carries it into every
// guest.
//
// Reading order: Config (config.go) with its text form, Module (modules.go),
// Cmdline (cmdline.go) whose clone.KEY=VALUE options override the
// configuration, Filesystem (filesystem.go).
//
// Rules: the parsers accept any input and say what is wrong with it; what one
// side encodes the other side parses to the same value. Host and guest programs are
// built together, so the formats have no version.
package bootconf
