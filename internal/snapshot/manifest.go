package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"clone/internal/config"
)

// FormatVersion of the template directory. A reader refuses any other.
const FormatVersion = 1

// ChunkSize is the unit of memory checksums in bytes.
const ChunkSize = 2 << 20

// Manifest describes a template.
type Manifest struct {
	FormatVersion int       `json:"format_version"`
	Name          string    `json:"name"`
	Created       time.Time `json:"created"`
	CloneVersion  string    `json:"clone_version"`
	Source        string    `json:"source"` // id of the VM it was taken from
	Config        config.VM `json:"config"`
	CPU           CPU       `json:"cpu"`
	Disks         []Disk    `json:"disks,omitempty"` // one for each of Config.Disks
	Clock         *Clock    `json:"clock,omitempty"` // absent where the guest's clock source is not kvm-clock
	Memory        Memory    `json:"memory"`
	State         File      `json:"state"`
}

// CPU is where the template can run.
type CPU struct {
	Vendor string `json:"vendor"` // CPUID leaf 0
	// BootID of the host it was taken on (/proc/sys/kernel/random/boot_id): on the same boot the processor is the
	// same and needs no comparison.
	BootID string `json:"boot_id"`
}

// Disk pins the content of a disk that the guest's memory knows: a template forks only while it is unchanged.
type Disk struct {
	SizeBytes int64 `json:"size_bytes"`
	ModTimeNS int64 `json:"mtime_ns"` // since 1970
}

// Clock places the guest's CLOCK_MONOTONIC_RAW on its kvmclock, with which a fork's wall clock is set exactly, however
// long the message takes.
type Clock struct {
	RawBehindNS int64 `json:"raw_behind_ns"` // kvmclock minus CLOCK_MONOTONIC_RAW
	BoundNS     int64 `json:"bound_ns"`      // how wrong that can be at most
}

// Memory describes the memory image.
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

func readManifest(dir string) (*Manifest, error) {
	b, err := readBounded(filepath.Join(dir, "manifest.json"), maxManifestBytes)
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
	want, err := readBounded(filepath.Join(dir, "manifest.sha256"), 256)
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
	}
	return nil
}
