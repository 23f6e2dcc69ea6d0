// Package config is the one description of a virtual machine: what `clone run` asks for, what a snapshot stores, and
// what the assembler builds from. Plain values: no I/O, no unsafe, nothing of ours imported.
//
// It does not know where a machine's state comes from (a boot or a template) nor what it is called on this host.
package config
