package session

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"clone/internal/boot"
	"clone/internal/config"
	"clone/internal/guestmem"
	"clone/internal/initrd"
	"clone/internal/initrd/bootconf"
	"clone/internal/snapshot"
	"clone/internal/vmm"
	"clone/internal/x86"
)

// BootRequest is what `clone run` asks for.
type BootRequest struct {
	Kernel, KernelSHA256 string // path; hexadecimal, "" for any
	Initrd, InitrdSHA256 string // an initrd of the user's; "" has one generated
	Modules              string // module directory of the kernel; "" has it found
	Rootfs               string // image, with ,ro for read-only; "" boots into the generated initrd alone
	Overlay              bool   // the guest's writes to Rootfs stay in its RAM
	Cmdline              string // appended to the default
	MemoryMiB            uint64
	VCPUs                int
	Hostname             string
	Disks                []config.Disk
}

// Boot is a machine to be booted.
type Boot struct {
	cfg      config.VM
	identity config.Identity
	kernel   *boot.Image
	initrd   []byte
}

// NewBoot checks the request and reads and builds what is to be booted: everything that can fail for a reason of the
// user's does so before anything is made.
func NewBoot(r BootRequest) (*Boot, error) {
	b := &Boot{identity: config.NewIdentity(r.Hostname)}
	b.cfg = config.VM{
		Version: config.Version, MemoryMiB: r.MemoryMiB, VCPUs: r.VCPUs, Slots: config.DefaultSlots(), Agent: r.Initrd == "",
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	root, err := b.addDisks(r)
	if err != nil {
		return nil, err
	}
	if err := b.cfg.Validate(); err != nil {
		return nil, err
	}
	if b.kernel, err = boot.ReadImage(r.Kernel, r.KernelSHA256); err != nil {
		return nil, err
	}
	if r.Initrd != "" {
		image, err := boot.ReadImage(r.Initrd, r.InitrdSHA256)
		if err != nil {
			return nil, err
		}
		b.initrd = image.Bytes()
	} else if b.initrd, err = generate(b.kernel, r, root, b.identity.Hostname); err != nil {
		return nil, err
	}
	// systemd would take the host name from the image, where it is every VM's.
	b.cfg.Cmdline = boot.Cmdline("systemd.hostname="+b.identity.Hostname+" "+r.Cmdline, b.cmdlineSlots())
	return b, nil
}

func (r BootRequest) check() error {
	switch {
	case r.Initrd != "" && r.Rootfs != "":
		return errors.New("--initrd and --rootfs exclude each other: with an initrd of your own, give the root file system with --block and let it mount that")
	case r.Initrd == "" && r.InitrdSHA256 != "":
		return errors.New("--initrd-sha256 needs --initrd")
	case r.Overlay && r.Rootfs == "":
		return errors.New("--overlay needs --rootfs")
	}
	return nil
}

// addDisks gives every disk its slot, the root file system first: it is the guest's /dev/vda.
func (b *Boot) addDisks(r BootRequest) (bootconf.RootMode, error) {
	mode := bootconf.RootNone
	disks := r.Disks
	if r.Rootfs != "" {
		root, err := config.ParseDisk(r.Rootfs)
		if err != nil {
			return mode, fmt.Errorf("--rootfs %s: %w", r.Rootfs, err)
		}
		switch {
		case r.Overlay:
			mode, root.ReadOnly = bootconf.RootOverlay, true
		case root.ReadOnly:
			mode = bootconf.RootReadOnly
		default:
			mode = bootconf.RootReadWrite
		}
		disks = append([]config.Disk{root}, disks...)
	}
	for _, d := range disks {
		slot, err := b.cfg.FreeDiskSlot()
		if err != nil {
			return mode, err
		}
		d.Slot = slot
		b.cfg.Disks = append(b.cfg.Disks, d)
	}
	return mode, nil
}

// cmdlineSlots are the slots with a device, for a kernel that is told not to read them from the DSDT.
func (b *Boot) cmdlineSlots() []boot.CmdlineSlot {
	used := []int{b.cfg.Slots.Vsock, b.cfg.Slots.RNG}
	for _, d := range b.cfg.Disks {
		used = append(used, d.Slot)
	}
	var list []boot.CmdlineSlot
	for _, i := range used {
		base, _ := x86.SlotAddr(i)
		gsi, _ := x86.SlotGSI(i)
		list = append(list, boot.CmdlineSlot{Base: base, Size: x86.MMIOSlotSize, GSI: gsi})
	}
	return list
}

// generate builds the initrd for the kernel.
func generate(kernel *boot.Image, r BootRequest, root bootconf.RootMode, hostname string) ([]byte, error) {
	version, err := boot.KernelVersion(kernel)
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(r.Kernel)
	if err != nil {
		return nil, err
	}
	var extra []string
	if r.Modules != "" {
		extra = append(extra, r.Modules)
	}
	modules, err := initrd.FindModules(path, version, extra...)
	if err != nil {
		return nil, err
	}
	return initrd.Build(initrd.Config{
		KernelVersion: version, ModuleDir: modules,
		Guest: bootconf.Config{Root: root, Hostname: hostname},
	})
}

// Config implements [Source].
func (b *Boot) Config() config.VM { return b.cfg }

// Identity implements [Source].
func (b *Boot) Identity() config.Identity { return b.identity }

// Template implements [Source]: there is none.
func (b *Boot) Template() string { return "" }

// Base implements [Source]: its memory began as zeros.
func (b *Boot) Base() *snapshot.Template { return nil }

// Close implements [Source].
func (b *Boot) Close() {}

// Clock implements [Source]: nobody measured it yet.
func (b *Boot) Clock() *snapshot.Clock { return nil }

// Warm implements [Source]: a machine that boots touches what it likes.
func (b *Boot) Warm(*vmm.Machine, uint64) error { return nil }

// NoteHot implements [Source]: there is no template to note it for.
func (b *Boot) NoteHot(*vmm.Machine) error { return nil }

// AddedSlots implements [Source]: the guest finds every device by itself.
func (b *Boot) AddedSlots() []int { return nil }

// Machine implements [Source].
func (b *Boot) Machine(host vmm.Host) (*vmm.Machine, error) {
	load := func(mem *guestmem.Memory) (x86.BootRegs, error) {
		rsdp, err := vmm.WriteACPI(mem, b.cfg.VCPUs)
		if err != nil {
			return x86.BootRegs{}, err
		}
		seed := make([]byte, 32)
		rand.Read(seed)
		return boot.Load(mem, boot.Config{
			Kernel: b.kernel, Initrd: b.initrd, Cmdline: b.cfg.Cmdline, RAMSize: mem.Size(), RSDP: rsdp, RNGSeed: seed,
		})
	}
	m, err := vmm.Boot(b.cfg, b.identity, load, host)
	// The guest has its copy; ours would be memory for nothing as long as the VM runs.
	b.kernel, b.initrd = nil, nil
	return m, err
}
