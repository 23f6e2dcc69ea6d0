package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Offsets in the first sectors of a bzImage, which are those of the setup header in the zero page (boot.rst, "The Real-Mode
// Kernel Header").
const (
	hdrStart         = 0x1f1
	hdrSetupSects    = 0x1f1
	hdrSysSize       = 0x1f4
	hdrVidMode       = 0x1fa
	hdrBootFlag      = 0x1fe
	hdrJumpLength    = 0x201 // the header ends so many bytes after 0x202
	hdrMagic         = 0x202
	hdrVersion       = 0x206
	hdrKernelVersion = 0x20e
	hdrLoaderType    = 0x210
	hdrLoadFlags     = 0x211
	hdrCode32Start   = 0x214
	hdrRamdiskImage  = 0x218
	hdrRamdiskSize   = 0x21c
	hdrCmdLinePtr    = 0x228
	hdrInitrdAddrMax = 0x22c
	hdrXLoadFlags    = 0x236
	hdrCmdlineSize   = 0x238
	hdrSetupData     = 0x250
	hdrPrefAddress   = 0x258
	hdrInitSize      = 0x260
	hdrMinimum       = 0x264 // what of it version 2.12 has
	hdrMaximum       = 0x290 // where the zero page goes on
)

const (
	bootFlag       = 0xaa55
	headerMagic    = "HdrS"
	version64      = 0x20c // the first with xloadflags
	xlfKernel64    = 1 << 0
	entry64        = 0x200 // of the 64-bit code, from where it is loaded
	loaderUnknown  = 0xff
	loadFlagHigh   = 1 << 0
	vidModeNormal  = 0xffff
	sectorSize     = 512
	defaultSectors = 4
)

// isBzImage tells by the boot sector and the header's magic.
func isBzImage(data []byte) bool {
	return len(data) >= hdrMinimum && binary.LittleEndian.Uint16(data[hdrBootFlag:]) == bootFlag &&
		string(data[hdrMagic:hdrMagic+4]) == headerMagic
}

// parseBzImage checks a bzImage and says how it is loaded.
//
// It goes to its preferred address even if it is relocatable: the 64-bit code moves itself up there from anywhere below, so
// that a lower address would not make it need less memory.
func parseBzImage(data []byte) (*kernel, error) {
	le := binary.LittleEndian
	if v := le.Uint16(data[hdrVersion:]); v < version64 || le.Uint16(data[hdrXLoadFlags:])&xlfKernel64 == 0 {
		return nil, fmt.Errorf("it is a bzImage without a 64-bit entry (boot protocol %d.%02d): need a 64-bit Linux from 3.8 on",
			v>>8, v&0xff)
	}
	sects := int(data[hdrSetupSects])
	if sects == 0 {
		sects = defaultSectors
	}
	codeStart := (sects + 1) * sectorSize
	want := uint64(codeStart) + uint64(le.Uint32(data[hdrSysSize:]))*16
	if uint64(len(data)) < want || codeStart+entry64 >= len(data) {
		return nil, fmt.Errorf("it is a truncated bzImage: %d bytes of %d", len(data), max(want, uint64(codeStart+entry64)+1))
	}
	headerEnd := hdrMagic + int(data[hdrJumpLength])
	if headerEnd < hdrMinimum || headerEnd > hdrMaximum {
		return nil, fmt.Errorf("its setup header ends at %#x: need %#x to %#x", headerEnd, hdrMinimum, hdrMaximum)
	}
	code := data[codeStart:]
	load := le.Uint64(data[hdrPrefAddress:])
	return &kernel{
		protocol:   linux64,
		pieces:     []piece{{load, code, max(uint64(len(code)), uint64(le.Uint32(data[hdrInitSize:])))}},
		entry:      load + entry64,
		header:     data[hdrStart:headerEnd],
		initrdMax:  uint64(le.Uint32(data[hdrInitrdAddrMax:])),
		cmdlineMax: int(min(le.Uint32(data[hdrCmdlineSize:]), 1<<20)),
	}, nil
}

// bzImageVersion returns the text that the header's kernel_version points to.
func bzImageVersion(data []byte) []byte {
	at := int(binary.LittleEndian.Uint16(data[hdrKernelVersion:])) + 0x200
	if at >= len(data) {
		return nil
	}
	text, _, _ := bytes.Cut(data[at:min(at+maxVersion+1, len(data))], []byte{0})
	return text
}
