package initd

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"clone/internal/initrd/bootconf"
)

// loadModules loads the listed modules in order.
func loadModules() error {
	text, err := os.ReadFile(bootconf.ListPath)
	if err != nil {
		return explain("read the module list", err)
	}
	list, err := bootconf.ParseModules(string(text))
	if err != nil {
		return err
	}
	for _, m := range list {
		switch err := loadModule(bootconf.ModuleDir + "/" + m.File); {
		case err == nil, errors.Is(err, unix.EEXIST):
		case m.Optional && errors.Is(err, unix.ENODEV):
			// A driver for hardware that is not there, such as a
			// processor's own crc32c.
		case m.Optional:
			say(explain("load module "+moduleName(m.File), err).Error() + " (going on without it)")
		default:
			return explain("load module "+moduleName(m.File), moduleError(err))
		}
	}
	return nil
}

func loadModule(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.FinitModule(fd, "", 0)
}

// moduleName turns 003-virtio_blk.ko into virtio_blk.
func moduleName(file string) string {
	name := strings.TrimSuffix(file, ".ko")
	if _, rest, ok := strings.Cut(name, "-"); ok {
		name = rest
	}
	return name
}

// moduleError adds the reason that the kernel's errno stands for.
func moduleError(err error) error {
	switch {
	case errors.Is(err, unix.ENOEXEC):
		return explain("use it", errors.New("it belongs to another kernel than the one running"))
	case errors.Is(err, unix.EKEYREJECTED), errors.Is(err, unix.EPERM):
		return explain("use it", errors.New("the kernel takes only modules signed with its own key"))
	}
	return err
}
