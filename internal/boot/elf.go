package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	elfMagic = "\x7fELF"

	elfClass32   = 1
	elfClass64   = 2
	elfLittle    = 1
	elfMachine86 = 3
	elfMachine64 = 62

	ptLoad = 1
	ptNote = 4

	// maxSegments is many times what a kernel has, and keeps a hostile one from making us write for ever.
	maxSegments = 64
	// maxNotes likewise.
	maxNotes = 1024

	elfNotePhys32Entry = 18 // XEN_ELFNOTE_PHYS32_ENTRY

	// defaultCmdlineMax is COMMAND_LINE_SIZE - 1 on x86: an ELF does not tell.
	defaultCmdlineMax = 2047
	// defaultInitrdMax is what every bzImage says.
	defaultInitrdMax = 0x7fffffff
)

// segment is a program header.
type segment struct {
	kind                         uint32
	offset, paddr, filesz, memsz uint64
}

// parseELF checks a vmlinux and says how it is loaded. Segments go to their physical addresses.
func parseELF(data []byte, forcePVH bool) (*kernel, error) {
	entry, segments, err := elfHeaders(data)
	if err != nil {
		return nil, err
	}
	k := &kernel{entry: entry, initrdMax: defaultInitrdMax, cmdlineMax: defaultCmdlineMax}
	var pvhAddr uint32
	hasPVH := false
	for i, s := range segments {
		if s.kind != ptLoad && s.kind != ptNote || s.memsz == 0 && s.filesz == 0 {
			continue
		}
		if s.offset > uint64(len(data)) || s.filesz > uint64(len(data))-s.offset {
			return nil, fmt.Errorf("it is a truncated ELF: segment %d ends at byte %d of %d", i, s.offset+s.filesz, len(data))
		}
		content := data[s.offset : s.offset+s.filesz]
		if s.kind == ptNote {
			if at, ok := pvhEntry(content); ok {
				pvhAddr, hasPVH = at, true
			}
			continue
		}
		if s.memsz < s.filesz {
			return nil, fmt.Errorf("segment %d has %d bytes for %d bytes of memory", i, s.filesz, s.memsz)
		}
		k.pieces = append(k.pieces, piece{s.paddr, content, s.memsz})
	}
	if len(k.pieces) == 0 {
		return nil, errors.New("it is an ELF with nothing to load")
	}
	return k, k.chooseEntry(data, pvhAddr, hasPVH, forcePVH)
}

// chooseEntry takes the 64-bit entry of a Linux kernel, and PVH where it is forced or the only one. An e_entry that lies in no
// segment's physical range is a virtual address, as kernels have that set up paging in their PVH entry.
func (k *kernel) chooseEntry(data []byte, pvhAddr uint32, hasPVH, forcePVH bool) error {
	direct := data[4] == elfClass64 && k.contains(k.entry)
	_, linux := linuxBanner(data)
	switch {
	case hasPVH && (forcePVH || !direct || !linux):
		k.protocol, k.entry = pvh, uint64(pvhAddr)
	case forcePVH:
		return errors.New("it has no PVH entry (no note XEN_ELFNOTE_PHYS32_ENTRY)")
	case direct:
		k.protocol = linux64
	default:
		return fmt.Errorf("it is an ELF with neither a 64-bit entry at a physical address (e_entry is %#x) nor a PVH entry", k.entry)
	}
	if !k.contains(k.entry) {
		return fmt.Errorf("its PVH entry %#x is in no segment", k.entry)
	}
	return nil
}

func (k *kernel) contains(addr uint64) bool {
	for _, p := range k.pieces {
		if addr >= p.addr && addr-p.addr < uint64(len(p.data)) {
			return true
		}
	}
	return false
}

// elfHeaders reads the file header and the program headers (System V ABI chapters 4 and 5).
func elfHeaders(data []byte) (entry uint64, segments []segment, err error) {
	le := binary.LittleEndian
	const size32, size64 = 52, 64
	if len(data) < size64 {
		return 0, nil, fmt.Errorf("it is a truncated ELF: %d bytes", len(data))
	}
	class, machine := data[4], le.Uint16(data[18:])
	if data[5] != elfLittle || machine != elfMachine86 && machine != elfMachine64 || class != elfClass32 && class != elfClass64 {
		return 0, nil, fmt.Errorf("it is %s: need x86-64", identify(data))
	}
	var at uint64
	var entSize, n, minSize int
	if class == elfClass64 {
		entry, at = le.Uint64(data[24:]), le.Uint64(data[32:])
		entSize, n, minSize = int(le.Uint16(data[54:])), int(le.Uint16(data[56:])), 56
	} else {
		entry, at = uint64(le.Uint32(data[24:])), uint64(le.Uint32(data[28:]))
		entSize, n, minSize = int(le.Uint16(data[42:])), int(le.Uint16(data[44:])), 32
	}
	if n == 0 {
		return 0, nil, errors.New("it is an ELF without program headers (an object file?)")
	}
	if n > maxSegments || entSize < minSize {
		return 0, nil, fmt.Errorf("its ELF header has %d program headers of %d bytes: need at most %d, of at least %d",
			n, entSize, maxSegments, minSize)
	}
	if at > uint64(len(data)) || uint64(n*entSize) > uint64(len(data))-at {
		return 0, nil, fmt.Errorf("it is a truncated ELF: program headers at byte %d of %d", at, len(data))
	}
	for i := range n {
		segments = append(segments, programHeader(data[int(at)+i*entSize:], class))
	}
	return entry, segments, nil
}

func programHeader(h []byte, class byte) segment {
	le := binary.LittleEndian
	if class == elfClass64 {
		return segment{le.Uint32(h), le.Uint64(h[8:]), le.Uint64(h[24:]), le.Uint64(h[32:]), le.Uint64(h[40:])}
	}
	u := func(at int) uint64 { return uint64(le.Uint32(h[at:])) }
	return segment{le.Uint32(h), u(4), u(12), u(16), u(20)}
}

// pvhEntry finds the PVH entry among notes. Its value has 4 bytes, or 8 of which the upper are zero.
func pvhEntry(notes []byte) (addr uint32, ok bool) {
	le := binary.LittleEndian
	for range maxNotes {
		if len(notes) < 12 {
			return 0, false
		}
		nameSize, descSize, kind := uint64(le.Uint32(notes)), uint64(le.Uint32(notes[4:])), le.Uint32(notes[8:])
		descAt := 12 + (nameSize+3)&^3
		next := descAt + (descSize+3)&^3
		if descAt+descSize > uint64(len(notes)) {
			return 0, false
		}
		name, desc := notes[12:12+nameSize], notes[descAt:descAt+descSize]
		if kind == elfNotePhys32Entry && bytes.Equal(name, []byte("Xen\x00")) && (descSize == 4 || descSize == 8 && le.Uint32(desc[4:]) == 0) {
			return le.Uint32(desc), true
		}
		notes = notes[min(next, uint64(len(notes))):]
	}
	return 0, false
}
