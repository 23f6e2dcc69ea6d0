package initrd

import (
	"fmt"
	"path/filepath"

	"github.com/cavaliergopher/cpio"

	"clone/internal/initrd/bootconf"
)

// Config says what initrd to build.
type Config struct {
	// KernelVersion is the release of the kernel that will be booted.
	KernelVersion string
	// ModuleDir holds its modules, as FindModules returns it. Empty says that
	// the kernel has everything built in.
	ModuleDir string
	// Guest is what PID 1 is told. A root mode without a device means
	// /dev/vda, without a file system type ext4's driver.
	Guest bootconf.Config
	// Programs run in the guest; nil takes the embedded ones.
	Programs *Programs
}

// defaultRootDevice is the first virtio disk.
const defaultRootDevice = "/dev/vda"

// Build returns the archive. The same configuration and files give the same
// bytes.
func Build(c Config) ([]byte, error) {
	if c.Guest.HasRoot() && c.Guest.RootDevice == "" {
		c.Guest.RootDevice = defaultRootDevice
	}
	if err := c.Guest.Validate(); err != nil {
		return nil, fmt.Errorf("initrd: %w", err)
	}
	programs, err := c.programs()
	if err != nil {
		return nil, err
	}
	modules, err := c.modules()
	if err != nil {
		return nil, fmt.Errorf("initrd: %w", err)
	}
	var list []bootconf.Module
	for _, m := range modules {
		list = append(list, m.Module)
	}
	entries := []entry{
		directory("dev"), directory("proc"), directory("sys"), directory("run"), directory("root"),
		{name: "tmp", mode: cpio.TypeDir | cpio.ModeSticky | 0o777},
		file(bootconf.InitPath[1:], 0o755, programs.Init),
		file(bootconf.AgentPath[1:], 0o755, programs.Agent),
		file(bootconf.ConfigPath[1:], 0o644, []byte(c.Guest.Encode())),
		file(bootconf.ListPath[1:], 0o644, []byte(bootconf.EncodeModules(list))),
		directory(bootconf.ModuleDir[1:]),
	}
	for _, m := range modules {
		entries = append(entries, file(bootconf.ModuleDir[1:]+"/"+m.File, 0o644, m.data))
	}
	return archive(entries)
}

func (c Config) programs() (Programs, error) {
	if c.Programs == nil {
		return EmbeddedPrograms()
	}
	if len(c.Programs.Init) == 0 || len(c.Programs.Agent) == 0 {
		return Programs{}, ErrNoPrograms
	}
	return *c.Programs, nil
}

// packedModule is a module as it goes into the archive.
type packedModule struct {
	bootconf.Module
	data []byte
}

// modules finds, orders and unpacks the modules of the guest.
func (c Config) modules() ([]packedModule, error) {
	if c.ModuleDir == "" {
		return nil, nil
	}
	fstype := c.Guest.RootFSType
	if fstype == "" {
		fstype = "ext4"
	}
	if c.Guest.HasRoot() && !bootconf.KnownFilesystem(fstype) {
		return nil, fmt.Errorf("file system %q cannot be a root: use ext4, xfs, btrfs, squashfs or erofs", fstype)
	}
	if base := filepath.Base(c.ModuleDir); c.KernelVersion != "" && base != c.KernelVersion {
		resolved, err := filepath.EvalSymlinks(c.ModuleDir)
		if err != nil {
			return nil, err
		}
		if filepath.Base(resolved) != c.KernelVersion {
			return nil, fmt.Errorf("%s has the modules of another kernel than %s", c.ModuleDir, c.KernelVersion)
		}
	}
	x, err := readIndex(c.ModuleDir)
	if err != nil {
		return nil, err
	}
	order, err := resolve(x, needs(c.Guest.Root, fstype))
	if err != nil {
		return nil, err
	}
	var list []packedModule
	for i, m := range order {
		data, err := readModule(filepath.Join(c.ModuleDir, m.file))
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%03d-%s.ko", i, m.name)
		list = append(list, packedModule{bootconf.Module{File: name, Optional: m.optional}, data})
	}
	return list, nil
}
