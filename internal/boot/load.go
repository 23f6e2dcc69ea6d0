package boot

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"clone/internal/x86"
)

// Memory is guest memory. Addresses are guest-physical; an access that is not wholly in RAM is an error.
type Memory interface {
	WriteAt(p []byte, gpa uint64) error
	ReadAt(p []byte, gpa uint64) error
}

// Config says what to boot.
type Config struct {
	Kernel *Image
	// Initrd may be empty.
	Initrd []byte
	// Cmdline is the whole command line; see DefaultCmdline.
	Cmdline string
	// RAMSize is the size of guest memory in bytes.
	RAMSize uint64
	// RSDP is the guest-physical address of the ACPI root pointer, 0 without ACPI.
	RSDP uint64
	// RNGSeed is handed to the kernel's random number generator, up to 512 bytes. It must be new for every boot. A kernel
	// entered through PVH does not get it.
	RNGSeed []byte
	// PVH takes the PVH entry of an ELF kernel that has a 64-bit entry too.
	PVH bool
}

const maxSeed = 512

// protocol is the way a kernel is entered.
type protocol int

const (
	linux64 protocol = iota // Linux' 64-bit boot protocol, with a zero page
	pvh                     // 32-bit protected mode, with a start info
)

// piece is a part of a kernel: data goes to addr, and size bytes from there belong to it.
type piece struct {
	addr uint64
	data []byte
	size uint64
}

// kernel is what bzImage and ELF have in common.
type kernel struct {
	protocol   protocol
	pieces     []piece
	entry      uint64
	header     []byte // a bzImage's setup header
	initrdMax  uint64 // the last address an initrd may have
	cmdlineMax int    // bytes, without the NUL
}

func (k *kernel) end() uint64 {
	var end uint64
	for _, p := range k.pieces {
		end = max(end, p.addr+p.size)
	}
	return end
}

// Load writes the kernel and what it is told into mem, which is fresh (zero), and returns the state in which the first vCPU
// starts. The descriptor and page tables that this state uses are the caller's to write: x86.BootGDT and x86.BootPageTables.
//
// Errors name the kernel's path and are for a user to read. Nothing is written when what was asked for can not work.
func Load(mem Memory, cfg Config) (x86.BootRegs, error) {
	if cfg.Kernel == nil {
		return x86.BootRegs{}, errors.New("no kernel to boot")
	}
	e820, err := x86.E820(cfg.RAMSize)
	if err != nil {
		return x86.BootRegs{}, err
	}
	k, err := parse(cfg.Kernel.data, cfg.PVH)
	if err != nil {
		return x86.BootRegs{}, fmt.Errorf("%s can not be booted: %w", cfg.Kernel.Path, err)
	}
	if err := k.check(cfg); err != nil {
		return x86.BootRegs{}, fmt.Errorf("kernel %s: %w", cfg.Kernel.Path, err)
	}
	initrdAddr, err := placeInitrd(k, uint64(len(cfg.Initrd)), cfg.RAMSize)
	if err != nil {
		return x86.BootRegs{}, err
	}
	w := writer{mem: mem}
	for _, p := range k.pieces {
		w.write("kernel", p.data, p.addr)
	}
	w.write("initrd", cfg.Initrd, initrdAddr)
	w.write("command line", append([]byte(cfg.Cmdline), 0), x86.CmdlineAddr)
	if k.protocol == pvh {
		w.write("start info", startInfo(cfg, e820, initrdAddr), x86.PVHInfoAddr)
		return x86.ProtectedMode(k.entry, x86.PVHInfoAddr), w.err
	}
	w.write("zero page", zeroPage(k, cfg, e820, initrdAddr), x86.ZeroPageAddr)
	if len(cfg.RNGSeed) > 0 {
		w.write("random seed", rngSetupData(cfg.RNGSeed), x86.SetupDataAddr)
	}
	return x86.LongMode(k.entry, x86.ZeroPageAddr), w.err
}

func parse(data []byte, forcePVH bool) (*kernel, error) {
	switch {
	case len(data) == 0:
		return nil, errors.New("it is empty")
	case isBzImage(data):
		if forcePVH {
			return nil, errors.New("it is a bzImage: a PVH entry needs the ELF vmlinux")
		}
		return parseBzImage(data)
	case bytes.HasPrefix(data, []byte(elfMagic)):
		return parseELF(data, forcePVH)
	}
	return nil, fmt.Errorf("it is %s: need a bzImage or an ELF vmlinux for x86-64", identify(data))
}

// check tells whether the kernel goes together with the machine and the command line.
func (k *kernel) check(cfg Config) error {
	for _, p := range k.pieces {
		if p.addr < x86.HighMemory || p.addr > x86.LowRAMEnd || p.size > x86.LowRAMEnd-p.addr {
			return fmt.Errorf("it wants to be at %#x+%#x: need an address between 1 MiB and 3 GiB", p.addr, p.size)
		}
	}
	if end := k.end(); end > x86.LowRAM(cfg.RAMSize) {
		return fmt.Errorf("it needs memory up to %s, and the machine has %s of RAM: give it %d MiB or more (--mem-mb)",
			mib(end), mib(cfg.RAMSize), roundMiB(end+uint64(len(cfg.Initrd))+0xfff))
	}
	if limit := min(k.cmdlineMax, int(x86.CmdlineSize)-1); len(cfg.Cmdline) > limit {
		return fmt.Errorf("the command line has %d bytes, and the kernel takes %d", len(cfg.Cmdline), limit)
	}
	if strings.ContainsFunc(cfg.Cmdline, func(r rune) bool { return r < ' ' && r != '\t' }) {
		return fmt.Errorf("the command line %q has control characters", cfg.Cmdline)
	}
	if len(cfg.RNGSeed) > maxSeed {
		return fmt.Errorf("the random seed has %d bytes, of %d at most", len(cfg.RNGSeed), maxSeed)
	}
	return nil
}

// writer remembers the first error.
type writer struct {
	mem Memory
	err error
}

func (w *writer) write(what string, p []byte, gpa uint64) {
	if w.err != nil || len(p) == 0 {
		return
	}
	if err := w.mem.WriteAt(p, gpa); err != nil {
		w.err = fmt.Errorf("write %s at %#x: %w", what, gpa, err)
	}
}
