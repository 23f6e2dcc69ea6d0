// Package guestmem owns the guest's physical memory: its mapping into this process and every translation from a
// guest-physical address (GPA) to host bytes.
//
// It is not an address-space manager: devices, holes and interrupts are unknown here; an address outside RAM is an error.
//
// Main types in reading order: [Memory], [Region], [Piece], [Frozen], and the 16-bit ring accessors in ring_unsafe.go.
//
// Rules:
//   - Every translation is checked against the regions and never crosses from one region into another.
//   - Guest memory changes under our feet: a value that is checked must be copied out first and only the copy used.
//   - The mapping is invisible to the garbage collector: no Go pointer is ever stored in it.
//   - Whoever holds a slice of guest memory is joined before [Memory.Close].
package guestmem
