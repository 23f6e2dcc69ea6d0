package boot

import (
	"encoding/binary"

	"clone/internal/x86"
)

// Offsets in struct boot_params beside the setup header (zero-page.rst).
const (
	bpRSDP        = 0x70
	bpE820Entries = 0x1e8
	bpE820Table   = 0x2d0
)

const setupRNGSeed = 9 // SETUP_RNG_SEED

// zeroPage returns Linux' struct boot_params.
func zeroPage(k *kernel, cfg Config, e820 []x86.E820Entry, initrdAddr uint64) []byte {
	le := binary.LittleEndian
	p := make([]byte, x86.ZeroPageSize)
	if k.header != nil {
		copy(p[hdrStart:], k.header)
	} else { // a vmlinux has none: what the kernel proper looks at
		le.PutUint16(p[hdrBootFlag:], bootFlag)
		copy(p[hdrMagic:], headerMagic)
		le.PutUint16(p[hdrVersion:], 0x20f)
	}
	p[hdrLoaderType] = loaderUnknown
	p[hdrLoadFlags] |= loadFlagHigh
	le.PutUint16(p[hdrVidMode:], vidModeNormal)
	le.PutUint32(p[hdrCode32Start:], uint32(k.pieces[0].addr))
	le.PutUint32(p[hdrCmdLinePtr:], uint32(x86.CmdlineAddr))
	le.PutUint32(p[hdrRamdiskImage:], uint32(initrdAddr))
	le.PutUint32(p[hdrRamdiskSize:], uint32(len(cfg.Initrd)))
	le.PutUint64(p[hdrSetupData:], 0)
	if len(cfg.RNGSeed) > 0 {
		le.PutUint64(p[hdrSetupData:], x86.SetupDataAddr)
	}
	le.PutUint64(p[bpRSDP:], cfg.RSDP)
	p[bpE820Entries] = byte(len(e820))
	for i, e := range e820 {
		at := p[bpE820Table+20*i:]
		le.PutUint64(at, e.Addr)
		le.PutUint64(at[8:], e.Size)
		le.PutUint32(at[16:], uint32(e.Type))
	}
	return p
}

// rngSetupData returns a struct setup_data, the last of the list, with random bytes. Linux mixes them in before anything asks
// for randomness, and wipes them.
func rngSetupData(seed []byte) []byte {
	b := make([]byte, 16, 16+len(seed))
	binary.LittleEndian.PutUint32(b[8:], setupRNGSeed)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(seed)))
	return append(b, seed...)
}
