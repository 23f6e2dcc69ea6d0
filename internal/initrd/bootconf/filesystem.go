package bootconf

// SuperblockBytes is how much of a disk's beginning Filesystem wants.
const SuperblockBytes = 0x10048

// superblocks are the magic numbers of the file systems a root disk may have
// (include/uapi/linux/magic.h and the file systems' own headers).
var superblocks = []struct {
	fstype string
	offset int
	magic  string
}{
	{"ext4", 0x438, "\x53\xef"},
	{"xfs", 0, "XFSB"},
	{"btrfs", 0x10040, "_BHRfS_M"},
	{"squashfs", 0, "hsqs"},
	{"erofs", 1024, "\xe2\xe1\xf5\xe0"},
}

// Filesystem returns the type of the file system whose first bytes are head,
// as mount(2) names it, or "" when it is none of those known.
func Filesystem(head []byte) string {
	for _, s := range superblocks {
		end := s.offset + len(s.magic)
		if len(head) >= end && string(head[s.offset:end]) == s.magic {
			return s.fstype
		}
	}
	return ""
}

// ReadOnlyFilesystem reports whether fstype can only be read.
func ReadOnlyFilesystem(fstype string) bool { return fstype == "squashfs" || fstype == "erofs" }

// KnownFilesystem reports whether Filesystem ever returns fstype.
func KnownFilesystem(fstype string) bool {
	for _, s := range superblocks {
		if s.fstype == fstype {
			return true
		}
	}
	return false
}
