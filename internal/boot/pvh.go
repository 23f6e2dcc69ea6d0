package boot

import (
	"encoding/binary"

	"clone/internal/x86"
)

const (
	pvhMagic = 0x336ec578
	// pvhModules and pvhMemory are offsets of the module list and the memory map from the start info.
	pvhModules = 0x40
	pvhMemory  = 0x80
)

// startInfo returns struct hvm_start_info, version 1, for x86.PVHInfoAddr, with its module list (the initrd) and memory map.
func startInfo(cfg Config, e820 []x86.E820Entry, initrdAddr uint64) []byte {
	le := binary.LittleEndian
	b := make([]byte, pvhMemory, x86.PVHInfoSize)
	le.PutUint32(b, pvhMagic)
	le.PutUint32(b[4:], 1)
	if len(cfg.Initrd) > 0 {
		le.PutUint32(b[12:], 1)
		le.PutUint64(b[16:], x86.PVHInfoAddr+pvhModules)
		le.PutUint64(b[pvhModules:], initrdAddr)
		le.PutUint64(b[pvhModules+8:], uint64(len(cfg.Initrd)))
	}
	le.PutUint64(b[24:], x86.CmdlineAddr)
	le.PutUint64(b[32:], cfg.RSDP)
	le.PutUint64(b[40:], x86.PVHInfoAddr+pvhMemory)
	le.PutUint32(b[48:], uint32(len(e820)))
	for _, e := range e820 {
		b = le.AppendUint64(b, e.Addr)
		b = le.AppendUint64(b, e.Size)
		b = le.AppendUint64(b, uint64(e.Type)) // the type and four reserved bytes
	}
	return b
}
