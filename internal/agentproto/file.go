package agentproto

const maxPath = 4096 // the kernel's PATH_MAX

// SizeUnknown is the Size of a CopyIn whose length nobody knows beforehand.
const SizeUnknown = ^uint64(0)

// KeepOwner as UID or GID of a CopyIn leaves the owner as the agent makes it.
const KeepOwner = ^uint32(0)

// CopyIn writes a file of the guest: Data follows on Stdin up to FlagEnd. The
// file appears under its name when it is whole, or not at all.
type CopyIn struct {
	Path string // absolute; a symbolic link is followed
	Mode uint32 // permission bits, 07777
	UID  uint32 // owner, or KeepOwner
	GID  uint32 // group, or KeepOwner
	Size uint64 // bytes that follow, or SizeUnknown
}

// Type implements Message.
func (CopyIn) Type() Type { return TypeCopyIn }

func (m CopyIn) append(b []byte) []byte {
	b = appendString(b, m.Path)
	b = le.AppendUint32(b, m.Mode)
	b = le.AppendUint32(b, m.UID)
	b = le.AppendUint32(b, m.GID)
	return le.AppendUint64(b, m.Size)
}

func decodeCopyIn(p []byte) (CopyIn, error) {
	d := decoder{b: p}
	m := CopyIn{Path: d.str(maxPath), Mode: d.u32(), UID: d.u32(), GID: d.u32(), Size: d.u64()}
	d.bad = d.bad || !absolute(m.Path) || m.Mode&^0o7777 != 0
	return m, d.done("copy-in")
}

// CopyOut reads a regular file of the guest.
type CopyOut struct {
	Path string // absolute
}

// Type implements Message.
func (CopyOut) Type() Type { return TypeCopyOut }

func (m CopyOut) append(b []byte) []byte { return appendString(b, m.Path) }

func decodeCopyOut(p []byte) (CopyOut, error) {
	d := decoder{b: p}
	m := CopyOut{Path: d.str(maxPath)}
	d.bad = d.bad || !absolute(m.Path)
	return m, d.done("copy-out")
}

// FileInfo is the first reply of CopyOut. The file may change while it is read:
// Size is what it was when it was opened (0 for files of /proc), not a promise.
type FileInfo struct {
	Mode    uint32 // permission bits, 07777
	Size    uint64 // bytes
	ModTime int64  // nanoseconds since 1970
}

// Type implements Message.
func (FileInfo) Type() Type { return TypeFileInfo }

func (m FileInfo) append(b []byte) []byte {
	b = le.AppendUint32(b, m.Mode)
	b = le.AppendUint64(b, m.Size)
	return le.AppendUint64(b, uint64(m.ModTime))
}

func decodeFileInfo(p []byte) (FileInfo, error) {
	d := decoder{b: p}
	m := FileInfo{Mode: d.u32(), Size: d.u64(), ModTime: int64(d.u64())}
	d.bad = d.bad || m.Mode&^0o7777 != 0
	return m, d.done("file info")
}

func absolute(path string) bool { return len(path) > 0 && path[0] == '/' }
