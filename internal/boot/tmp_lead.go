package boot

import (
	"bytes"
	"encoding/binary"
	"os"

	"clone/internal/x86"
)

type Memory interface {
	WriteAt(p []byte, gpa uint64) error
	ReadAt(p []byte, gpa uint64) error
}
type Image struct{ b []byte }

func (i *Image) Bytes() []byte { return i.b }
func ReadImage(path, sum string) (*Image, error) {
	b, err := os.ReadFile(path)
	return &Image{b}, err
}
func KernelVersion(i *Image) (string, error) {
	off := int(binary.LittleEndian.Uint16(i.b[0x20e:])) + 0x200
	s := i.b[off:]
	return string(s[:bytes.IndexByte(s, ' ')]), nil
}
func DefaultCmdline() string {
	return "console=ttyS0 quiet reboot=k panic=-1 8250.nr_uarts=1 random.trust_cpu=on no_timer_check i8042.noaux i8042.nokbd pci=off"
}

type Config struct {
	Kernel  *Image
	Initrd  []byte
	Cmdline string
	RAMSize uint64
	RSDP    uint64
}

func Load(mem Memory, c Config) (x86.BootRegs, error) {
	k := c.Kernel.b
	sects := int(k[0x1f1])
	if sects == 0 {
		sects = 4
	}
	const load = 0x1000000
	var zp [4096]byte
	copy(zp[0x1f1:], k[0x1f1:0x202+int(k[0x201])])
	zp[0x210] = 0xff
	binary.LittleEndian.PutUint32(zp[0x214:], load)
	binary.LittleEndian.PutUint32(zp[0x228:], uint32(x86.CmdlineAddr))
	at := (min(c.RAMSize, x86.LowRAMEnd) - uint64(len(c.Initrd))) &^ 0xfff
	binary.LittleEndian.PutUint32(zp[0x218:], uint32(at))
	binary.LittleEndian.PutUint32(zp[0x21c:], uint32(len(c.Initrd)))
	binary.LittleEndian.PutUint64(zp[0x70:], c.RSDP)
	e, err := x86.E820(c.RAMSize)
	if err != nil {
		return x86.BootRegs{}, err
	}
	zp[0x1e8] = byte(len(e))
	for i, x := range e {
		o := 0x2d0 + 20*i
		binary.LittleEndian.PutUint64(zp[o:], x.Addr)
		binary.LittleEndian.PutUint64(zp[o+8:], x.Size)
		binary.LittleEndian.PutUint32(zp[o+16:], uint32(x.Type))
	}
	mem.WriteAt(c.Initrd, at)
	mem.WriteAt(append([]byte(c.Cmdline), 0), x86.CmdlineAddr)
	mem.WriteAt(zp[:], x86.ZeroPageAddr)
	if err := mem.WriteAt(k[(sects+1)*512:], load); err != nil {
		return x86.BootRegs{}, err
	}
	return x86.LongMode(load+0x200, x86.ZeroPageAddr), nil
}
