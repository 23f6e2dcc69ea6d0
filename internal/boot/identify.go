package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// signatures are what people pass as a kernel by mistake.
var signatures = []struct {
	offset int
	magic  string
	what   string
}{
	{0x38, "ARM\x64", "a kernel for arm64"},
	{0x24, "\x18\x28\x6f\x01", "a kernel for 32-bit arm"},
	{0x30, "RISCV\x00\x00\x00", "a kernel for riscv"},
	{0, "\x1f\x8b", "gzip data"},
	{0, "\xfd7zXZ\x00", "xz data"},
	{0, "\x28\xb5\x2f\xfd", "zstd data"},
	{0, "BZh", "bzip2 data"},
	{0, "\x04\x22\x4d\x18", "lz4 data"},
	{0, "\x02\x21\x4c\x18", "lz4 data"},
	{0, "070701", "a cpio archive (an initrd?)"},
	{0, "!<arch>", "an ar archive (a .deb package?)"},
	{0, "\xed\xab\xee\xdb", "an rpm package"},
	{0, "QFI\xfb", "a qcow2 image"},
	{0, "hsqs", "a squashfs image"},
	{0, "PK\x03\x04", "a zip archive"},
	{257, "ustar", "a tar archive"},
	{0x438, "\x53\xef", "an ext4 image"},
	{0, "MZ", "an EFI program without a Linux setup header"},
	{0, "#!", "a script"},
}

// elfMachines names the machines (ELF e_machine) that kernels are built for.
var elfMachines = map[uint16]string{3: "i386", 8: "mips", 20: "powerpc", 21: "powerpc64", 22: "s390", 40: "arm", 62: "x86-64",
	183: "arm64", 243: "riscv", 258: "loongarch"}

// identify says what data is, for a message that begins with "it is".
func identify(data []byte) string {
	if len(data) >= 20 && bytes.HasPrefix(data, []byte(elfMagic)) {
		machine := binary.LittleEndian.Uint16(data[18:])
		if data[5] == 2 {
			machine = binary.BigEndian.Uint16(data[18:])
		}
		if name, ok := elfMachines[machine]; ok {
			return "an ELF for " + name
		}
		return fmt.Sprintf("an ELF for machine %d", machine)
	}
	for _, s := range signatures {
		if len(data) >= s.offset && bytes.HasPrefix(data[s.offset:], []byte(s.magic)) {
			return s.what
		}
	}
	if text := bytes.TrimSpace(data[:min(len(data), 512)]); len(text) > 0 && text[0] == '<' {
		return "HTML or XML (a failed download?)"
	}
	return fmt.Sprintf("unknown data that starts with % x", data[:min(len(data), 8)])
}
