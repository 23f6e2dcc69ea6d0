package agentd

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// registers is a page of a device's, mapped.
type registers []byte

// MapRegisters implements System with mem(4). A kernel without CONFIG_DEVMEM has no such file, and a locked down one refuses.
func (Linux) MapRegisters(gpa uint64) (Registers, error) { return mapRegisters("/dev/mem", gpa) }

// mapRegisters refuses what else somebody may have put at path, and does not wait for it.
func mapRegisters(path string, gpa uint64) (Registers, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_SYNC|unix.O_NONBLOCK, 0) // O_SYNC: mapped uncached
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 { // a file may end before gpa
		return nil, failed("map a device's registers", unix.ENODEV)
	}
	page, err := unix.Mmap(int(f.Fd()), int64(gpa), os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, failed("map a device's registers", err)
	}
	return registers(page), nil
}

// Uint64 implements Registers.
func (r registers) Uint64(offset int) uint64 { return binary.NativeEndian.Uint64(r[offset:]) } // one MOVQ

// Close implements Registers.
func (r registers) Close() error { return unix.Munmap(r) }
