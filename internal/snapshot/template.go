package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Template is an open template.
type Template struct {
	Manifest *Manifest
	dir      string
}

// Open reads a template's manifest and checks that its files have the sizes it says. Nothing else is read.
func (s *Store) Open(name string) (*Template, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.root, name)
	err := checkOwner(dir)
	if err == nil {
		err = checkOwner(s.root)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s; `clone template list` shows what there is", ErrNotFound, name)
	}
	var m *Manifest
	if err == nil {
		m, err = readManifest(dir)
	}
	t := &Template{Manifest: m, dir: dir}
	if err == nil {
		err = t.checkSize("memory", int64(m.Memory.SizeBytes))
	}
	if err == nil {
		err = t.checkSize("state", m.State.SizeBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	return t, nil
}

func (t *Template) checkSize(file string, want int64) error {
	f, err := openSized(filepath.Join(t.dir, file), want)
	if err != nil {
		return err
	}
	return f.Close()
}

// OpenMemory opens the memory image for mapping, if it is whole at this moment.
func (t *Template) OpenMemory() (*os.File, error) {
	f, err := openSized(filepath.Join(t.dir, "memory"), int64(t.Manifest.Memory.SizeBytes))
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", t.Manifest.Name, err)
	}
	return f, nil
}

// State reads the machine state; its parser checks it.
func (t *Template) State() ([]byte, error) {
	return readBounded(filepath.Join(t.dir, "state"), t.Manifest.State.SizeBytes)
}

// CheckDisks tells which disk changed since the snapshot: the guest's memory would no longer fit it.
func (t *Template) CheckDisks() error {
	for i, d := range t.Manifest.Config.Disks {
		now, err := DescribeDisk(d.Path)
		if err != nil {
			return fmt.Errorf("disk of template %s: %w", t.Manifest.Name, err)
		}
		if now != t.Manifest.Disks[i] {
			return fmt.Errorf("disk %s was changed after template %s was taken, whose memory no longer fits it: "+
				"restore the image or take the template anew", d.Path, t.Manifest.Name)
		}
	}
	return nil
}

// DescribeDisk pins an image's present content.
func DescribeDisk(path string) (Disk, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Disk{}, err
	}
	return Disk{SizeBytes: info.Size(), ModTimeNS: info.ModTime().UnixNano()}, nil
}

// Verify reads the whole template and compares every checksum. progress is called with bytes of memory.
func (t *Template) Verify(progress func(done, total uint64)) error {
	state, err := t.State()
	if err == nil && describe(state) != t.Manifest.State {
		err = errors.New("state is damaged: its checksum does not match")
	}
	if err != nil {
		return fmt.Errorf("template %s: %w", t.Manifest.Name, err)
	}
	f, err := t.OpenMemory()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := verifyMemory(f, t.Manifest.Memory, progress); err != nil {
		return fmt.Errorf("template %s: %w", t.Manifest.Name, err)
	}
	return nil
}
