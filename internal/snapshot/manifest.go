package snapshot

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"clone/internal/config"
	"clone/internal/disk"
)

// FormatVersion of the template directory. A reader refuses any other.
const FormatVersion = 2

// ChunkSize is the unit of memory checksums in bytes.
const ChunkSize = 2 << 20

// Manifest describes a template.
type Manifest struct {
	FormatVersion int       `json:"format_version"`
	Name          string    `json:"name"`
	ID            string    `json:"id"`               // 32 hexadecimal digits, drawn for each template
	Parent        *Parent   `json:"parent,omitempty"` // absent where the memory is stored whole
	Created       time.Time `json:"created"`
	CloneVersion  string    `json:"clone_version"`
	Source        string    `json:"source"` // id of the VM it was taken from
	Config        config.VM `json:"config"`
	CPU           CPU       `json:"cpu"`
	// Disks pin the content of each of Config.Disks, which the guest's memory knows: a template forks only while that is unchanged.
	Disks  []disk.Stamp `json:"disks,omitempty"`
	Clock  *Clock       `json:"clock,omitempty"` // absent where the guest's clock source is not kvm-clock, or the guest did not answer
	Memory Memory       `json:"memory"`
	Index  *File        `json:"index,omitempty"` // of a layer: which pages it stores
	State  File         `json:"state"`
}

// Parent is the template that a layer lies over.
type Parent struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

// newID draws the id of a template.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func validID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 16
}

// CPU is where the template can run.
type CPU struct {
	Vendor string `json:"vendor"` // CPUID leaf 0
	// BootID of the host it was taken on (/proc/sys/kernel/random/boot_id): on the same boot the processor is the
	// same and needs no comparison.
	BootID string `json:"boot_id"`
}

// Clock places the guest's CLOCK_MONOTONIC_RAW on its kvmclock, with which a fork's wall clock is set exactly, however
// long the message takes.
type Clock struct {
	RawBehindNS int64 `json:"raw_behind_ns"` // kvmclock minus CLOCK_MONOTONIC_RAW
	BoundNS     int64 `json:"bound_ns"`      // how wrong that can be at most
}

// Memory describes the memory file: of a layer too it is as large as the guest's RAM, with holes where it stores nothing.
type Memory struct {
	SizeBytes   uint64 `json:"size_bytes"`   // guest RAM
	StoredBytes uint64 `json:"stored_bytes"` // bytes that are not holes
	// Sums holds the xxHash64 of every ChunkSize bytes, 8 bytes little-endian each; 0 for a chunk of zeros.
	Sums []byte `json:"sums"`
}

// File describes a small file by its content.
type File struct {
	SizeBytes int64  `json:"size_bytes"`
	SHA256    string `json:"sha256"`
}

func describe(b []byte) File {
	sum := sha256.Sum256(b)
	return File{SizeBytes: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
}

// maxManifestBytes bounds what is read: the sums of a guest of 1 TiB take 5.6 MiB.
const maxManifestBytes = 16 << 20

// files is a directory, as os.DirFS and os.Root have it.
type files interface {
	Open(name string) (fs.File, error)
}

func readManifest(dir files) (*Manifest, error) {
	b, err := readBounded(dir, "manifest.json", maxManifestBytes)
	if err != nil {
		return nil, err
	}
	// The version comes first: another version may well have other files and checksums.
	var version struct {
		FormatVersion int `json:"format_version"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, fmt.Errorf("manifest is damaged: %w", err)
	}
	if version.FormatVersion != FormatVersion {
		return nil, fmt.Errorf("template is of format version %d; this clone reads version %d", version.FormatVersion, FormatVersion)
	}
	want, err := readBounded(dir, "manifest.sha256", 256)
	if err != nil {
		return nil, err
	}
	if describe(b).SHA256 != strings.TrimSpace(string(want)) {
		return nil, errors.New("manifest is damaged: its checksum does not match")
	}
	m := &Manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("manifest is damaged: %w", err)
	}
	return m, m.validate()
}

func (m *Manifest) validate() error {
	if err := m.Config.Validate(); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	chunks := (m.Memory.SizeBytes + ChunkSize - 1) / ChunkSize
	switch {
	case m.Memory.SizeBytes != m.Config.MemoryMiB<<20:
		return fmt.Errorf("manifest: memory of %d bytes for a guest of %d MiB", m.Memory.SizeBytes, m.Config.MemoryMiB)
	case uint64(len(m.Memory.Sums)) != 8*chunks:
		return errors.New("manifest: memory checksums are incomplete")
	case len(m.Disks) != len(m.Config.Disks):
		return errors.New("manifest: disk list is incomplete")
	case m.Clock != nil && m.Clock.BoundNS < 0:
		return fmt.Errorf("manifest: clock known to %d ns", m.Clock.BoundNS)
	case !validID(m.ID):
		return fmt.Errorf("manifest: %q is no id", m.ID)
	case (m.Parent == nil) != (m.Index == nil):
		return errors.New("manifest: a layer has a parent and an index")
	case m.Parent != nil && (CheckName(m.Parent.Name) != nil || !validID(m.Parent.ID)):
		return fmt.Errorf("manifest: %q with id %q is no parent", m.Parent.Name, m.Parent.ID)
	case m.Index != nil && (m.Index.SizeBytes < 0 || m.Index.SizeBytes > maxIndexBytes):
		return fmt.Errorf("manifest: index of %d bytes, at most %d expected", m.Index.SizeBytes, maxIndexBytes)
	}
	return nil
}

func readBounded(dir files, name string, limit int64) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes, at most %d expected", name, info.Size(), limit)
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}
