package config

import (
	"errors"
	"fmt"
	"slices"
)

// Version of the persisted form. A reader refuses any other.
const Version = 1

// Limits of a machine.
const (
	MinMemoryMiB = 64
	MaxMemoryMiB = 1 << 20 // 1 TiB
	MaxVCPUs     = 16
	MaxDisks     = 8
)

// VM is one machine's configuration.
type VM struct {
	Version   int    `json:"version"`
	MemoryMiB uint64 `json:"memory_mib"` // guest RAM in MiB
	VCPUs     int    `json:"vcpus"`
	Cmdline   string `json:"cmdline"` // the kernel command line it booted with
	Agent     bool   `json:"agent"`   // the guest runs Clone's agent
	Disks     []Disk `json:"disks,omitempty"`
	Slots     Slots  `json:"slots"`
}

// Disk is one virtio-blk device.
type Disk struct {
	Path     string `json:"path"` // absolute path of the raw image
	ReadOnly bool   `json:"read_only"`
	Slot     int    `json:"slot"` // virtio-mmio slot it sits in
}

// Slots says which virtio-mmio slot each singular device sits in. Addresses and interrupts follow from the slot, so a
// restored guest finds every device where it was.
type Slots struct {
	Vsock int `json:"vsock"`
	RNG   int `json:"rng"`
	Disk0 int `json:"disk0"` // first of MaxDisks slots for disks
}

// DefaultSlots is the arrangement of every new machine.
func DefaultSlots() Slots { return Slots{Vsock: 0, RNG: 1, Disk0: 2} }

// Validate reports everything that is wrong with the configuration, in the user's terms.
func (c *VM) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.Version != Version {
		bad("configuration version %d; this clone reads version %d", c.Version, Version)
	}
	if c.MemoryMiB < MinMemoryMiB || c.MemoryMiB > MaxMemoryMiB {
		bad("--mem-mb %d is out of range: a guest has %d to %d MiB", c.MemoryMiB, MinMemoryMiB, MaxMemoryMiB)
	}
	if c.VCPUs < 1 || c.VCPUs > MaxVCPUs {
		bad("--vcpus %d is out of range: a guest has 1 to %d", c.VCPUs, MaxVCPUs)
	}
	if len(c.Disks) > MaxDisks {
		bad("%d disks: a guest has at most %d", len(c.Disks), MaxDisks)
	}
	used := map[int]bool{}
	take := func(slot int, what string) {
		if slot < 0 || slot >= 16 || used[slot] {
			bad("%s has virtio slot %d, which is taken or does not exist", what, slot)
		}
		used[slot] = true
	}
	take(c.Slots.Vsock, "vsock")
	take(c.Slots.RNG, "rng")
	for _, d := range c.Disks {
		take(d.Slot, "disk "+d.Path)
	}
	return errors.Join(errs...)
}

// WritableDisk returns the path of the first disk the guest can write, or "".
func (c *VM) WritableDisk() string {
	for _, d := range c.Disks {
		if !d.ReadOnly {
			return d.Path
		}
	}
	return ""
}

// FreeDiskSlot returns the first virtio slot for a disk that nothing sits in.
func (c *VM) FreeDiskSlot() (int, error) {
	for slot := c.Slots.Disk0; slot < c.Slots.Disk0+MaxDisks; slot++ {
		if !slices.ContainsFunc(c.Disks, func(d Disk) bool { return d.Slot == slot }) {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("a guest has at most %d disks", MaxDisks)
}
