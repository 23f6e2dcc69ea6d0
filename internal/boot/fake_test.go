package boot

import (
	"encoding/binary"
	"fmt"
	"testing"

	"clone/internal/x86"
)

// fakeMemory is guest memory that keeps what was written as ranges, and refuses what is not in RAM.
type fakeMemory struct {
	t      testing.TB
	size   uint64
	writes []piece
}

func (m *fakeMemory) WriteAt(p []byte, gpa uint64) error {
	if !m.inRAM(gpa, uint64(len(p))) {
		return fmt.Errorf("%#x+%#x is not in RAM", gpa, len(p))
	}
	for _, w := range m.writes {
		if gpa < w.addr+uint64(len(w.data)) && w.addr < gpa+uint64(len(p)) {
			m.t.Errorf("%#x+%#x is written over %#x+%#x", gpa, len(p), w.addr, len(w.data))
		}
	}
	m.writes = append(m.writes, piece{addr: gpa, data: p})
	return nil
}

func (m *fakeMemory) inRAM(gpa, n uint64) bool {
	in := func(from, to uint64) bool { return gpa >= from && gpa <= to && n <= to-gpa }
	return in(0, x86.LowRAM(m.size)) || in(x86.HighRAMStart, x86.HighRAMStart+x86.HighRAM(m.size))
}

// ReadAt reads within one write; that is all the tests need.
func (m *fakeMemory) ReadAt(p []byte, gpa uint64) error {
	for _, w := range m.writes {
		if gpa >= w.addr && gpa+uint64(len(p)) <= w.addr+uint64(len(w.data)) {
			copy(p, w.data[gpa-w.addr:])
			return nil
		}
	}
	return fmt.Errorf("nothing was written at %#x+%#x", gpa, len(p))
}

func (m *fakeMemory) bytes(gpa uint64, n int) []byte {
	m.t.Helper()
	p := make([]byte, n)
	if err := m.ReadAt(p, gpa); err != nil {
		m.t.Fatal(err)
	}
	return p
}

func (m *fakeMemory) uint32(gpa uint64) uint32 { return binary.LittleEndian.Uint32(m.bytes(gpa, 4)) }
func (m *fakeMemory) uint64(gpa uint64) uint64 { return binary.LittleEndian.Uint64(m.bytes(gpa, 8)) }

// fakeBzImage is a bzImage of one sector of code, which wants 8 MiB at 16 MiB.
func fakeBzImage() []byte {
	le := binary.LittleEndian
	const sects = 4
	b := make([]byte, (sects+1)*sectorSize+0x400)
	b[hdrSetupSects] = sects
	le.PutUint32(b[hdrSysSize:], 0x400/16)
	le.PutUint16(b[hdrBootFlag:], bootFlag)
	b[hdrJumpLength] = 0x6a
	copy(b[hdrMagic:], headerMagic)
	le.PutUint16(b[hdrVersion:], 0x20f)
	le.PutUint16(b[hdrKernelVersion:], 0x300)
	copy(b[0x500:], "6.12.9+deb13-cloud-amd64 (build@host) #1 SMP\x00")
	b[hdrLoadFlags] = loadFlagHigh
	le.PutUint32(b[hdrInitrdAddrMax:], 0x7fffffff)
	le.PutUint16(b[hdrXLoadFlags:], xlfKernel64)
	le.PutUint32(b[hdrCmdlineSize:], 2047)
	le.PutUint64(b[hdrPrefAddress:], 16<<20)
	le.PutUint32(b[hdrInitSize:], 8<<20)
	copy(b[(sects+1)*sectorSize:], "the code")
	return b
}

// fakeELF describes an ELF kernel with one segment.
type fakeELF struct {
	class   byte
	machine uint16
	entry   uint64
	paddr   uint64
	memsz   uint64
	content string
	pvh     uint64 // 0: no note
}

func linuxELF() fakeELF {
	return fakeELF{class: elfClass64, machine: elfMachine64, entry: 0x1000008, paddr: 0x1000000, memsz: 1 << 20,
		content: "code and Linux version %s Linux version 6.1.0-40-amd64 (debian)", pvh: 0x1000010}
}

func (f fakeELF) bytes() []byte {
	le := binary.LittleEndian
	note := append([]byte{4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, "GNU\x00"...) // another note before
	if f.pvh != 0 {
		note = append(note, 4, 0, 0, 0, 8, 0, 0, 0, elfNotePhys32Entry, 0, 0, 0)
		note = append(note, "Xen\x00"...)
		note = le.AppendUint64(note, f.pvh)
	}
	const headers = 256
	b := make([]byte, headers)
	copy(b, elfMagic)
	b[4], b[5] = f.class, elfLittle
	le.PutUint16(b[18:], f.machine)
	put := func(at int, kind uint32, offset, paddr, filesz, memsz uint64) {
		le.PutUint32(b[at:], kind)
		if f.class == elfClass32 {
			for i, v := range []uint64{offset, 0, paddr, filesz, memsz} {
				le.PutUint32(b[at+4+4*i:], uint32(v))
			}
			return
		}
		for i, v := range []uint64{offset, 0, paddr, filesz, memsz} {
			le.PutUint64(b[at+8+8*i:], v)
		}
	}
	size := 56
	if f.class == elfClass32 {
		size = 32
		le.PutUint32(b[24:], uint32(f.entry))
		le.PutUint32(b[28:], 64)
		le.PutUint16(b[42:], uint16(size))
		le.PutUint16(b[44:], 2)
	} else {
		le.PutUint64(b[24:], f.entry)
		le.PutUint64(b[32:], 64)
		le.PutUint16(b[54:], uint16(size))
		le.PutUint16(b[56:], 2)
	}
	put(64, ptLoad, headers, f.paddr, uint64(len(f.content)), f.memsz)
	put(64+size, ptNote, uint64(headers+len(f.content)), 0, uint64(len(note)), uint64(len(note)))
	return append(append(b, f.content...), note...)
}
