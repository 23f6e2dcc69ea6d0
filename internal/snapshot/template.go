package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"clone/internal/disk"
)

// Template is an open template. It must be closed; what was mapped of it stays mapped.
type Template struct {
	Manifest *Manifest
	chain    []*member // the template itself, then what it builds on
	image    *Image
	depth    int
	store    string // directory of the store
}

// member is one template of a chain. Its files are open: whoever removes or exchanges the template takes nothing from us.
type member struct {
	manifest *Manifest
	state    *os.File // nil where there is none
	memory   *os.File
	extents  []Extent
}

// Open reads the manifests of a template and of those it builds on, and checks that their files have the sizes they say.
// No memory is read.
func (s *Store) Open(name string) (*Template, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	t, err := s.open(name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t, err = s.open(name) // it may have been flattened, or replaced, between one file and the next
	}
	return t, err
}

func (s *Store) open(name string) (t *Template, err error) {
	t = &Template{store: s.root}
	defer func() {
		if err != nil {
			t.Close()
			t = nil
			if !errors.Is(err, ErrNotFound) {
				err = fmt.Errorf("template %s: %w", name, err)
			}
		}
	}()
	if err := checkOwner(s.root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	top, err := openMember(filepath.Join(s.root, name))
	if errors.Is(err, fs.ErrNotExist) && !s.Exists(name) {
		return t, fmt.Errorf("%w: %s; `clone template list` shows what there is", ErrNotFound, name)
	}
	if err != nil {
		return t, err
	}
	t.Manifest, t.chain = top.manifest, []*member{top}
	if top.state == nil {
		return t, errors.New("state is missing")
	}
	if err := checkSize(top.state, "state", top.manifest.State.SizeBytes); err != nil {
		return t, err
	}
	for m := top; m.manifest.Parent != nil; {
		if m, err = s.openParent(t, *m.manifest.Parent); err != nil {
			return t, err
		}
	}
	t.depth = len(t.chain)
	t.image, err = compose(t.chain)
	return t, err
}

// openParent adds a template to the chain.
func (s *Store) openParent(t *Template, p Parent) (*member, error) {
	for _, m := range t.chain {
		if m.manifest.ID == p.ID {
			return nil, fmt.Errorf("it builds on itself, by way of template %s", p.Name)
		}
	}
	if len(t.chain) >= maxDepth {
		return nil, errTooDeep()
	}
	dir := filepath.Join(s.root, p.Name)
	m, err := openMember(dir)
	if errors.Is(err, fs.ErrNotExist) && !s.Exists(p.Name) {
		return nil, gone(p)
	}
	if err != nil {
		return nil, fmt.Errorf("it builds on template %s: %w", p.Name, err)
	}
	t.chain = append(t.chain, m)
	if m.manifest.ID != p.ID {
		return nil, replaced(p, m.manifest.ID)
	}
	if m.manifest.Memory.SizeBytes != t.Manifest.Memory.SizeBytes {
		return nil, fmt.Errorf("it has %d bytes of memory, and template %s, which it builds on, %d",
			t.Manifest.Memory.SizeBytes, p.Name, m.manifest.Memory.SizeBytes)
	}
	return m, nil
}

// openMember opens the files of one template, all of one directory even when it is exchanged meanwhile.
func openMember(dir string) (m *member, err error) {
	if err := checkOwner(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	m = &member{}
	defer func() {
		if err != nil {
			m.close()
			m = nil
		}
	}()
	if m.manifest, err = readManifest(rootFiles{root}); err != nil {
		return m, err
	}
	m.manifest.Name = filepath.Base(dir) // a copy is called what it is called, not what it was copied from
	if m.memory, err = openTrusted(root, "memory"); err != nil {
		return m, err
	}
	if err := checkSize(m.memory, "memory", int64(m.manifest.Memory.SizeBytes)); err != nil {
		return m, err
	}
	if m.state, err = openTrusted(root, "state"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if m.manifest.Index == nil {
		return m, nil
	}
	index, err := readBounded(rootFiles{root}, "memory.map", maxIndexBytes)
	if err == nil && describe(index) != *m.manifest.Index {
		err = errors.New("its checksum does not match")
	}
	if err == nil {
		m.extents, err = parseIndex(index, m.manifest.Memory.SizeBytes/pageSize)
	}
	if err != nil {
		return m, fmt.Errorf("memory.map is damaged: %w", err)
	}
	return m, nil
}

// rootFiles is os.Root as [files].
type rootFiles struct{ root *os.Root }

func (r rootFiles) Open(name string) (fs.File, error) { return openTrusted(r.root, name) }

// compose lays the layers of a chain over each other.
func compose(chain []*member) (*Image, error) {
	bottom := chain[len(chain)-1]
	im := &Image{pieces: []Piece{{
		Pages: bottom.manifest.Memory.SizeBytes / pageSize, File: bottom.memory, id: bottom.manifest.ID,
	}}}
	for i := len(chain) - 2; i >= 0; i-- {
		m := chain[i]
		im.pieces = over(im.pieces, m.extents, m.memory, m.manifest.ID)
	}
	if len(im.pieces) > maxPieces {
		return nil, fmt.Errorf("its memory is in %d pieces, at most %d are sensible: `clone template flatten` makes one of them", len(im.pieces), maxPieces)
	}
	return im, nil
}

func checkSize(f *os.File, what string, want int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != want {
		return fmt.Errorf("%s is truncated or not its own: %d bytes, %d expected", what, info.Size(), want)
	}
	return nil
}

// Name is what the template is called.
func (t *Template) Name() string { return t.Manifest.Name }

// Root is the directory of its store.
func (t *Template) Root() string { return t.store }

// Ref names the template for a layer over it.
func (t *Template) Ref() Parent { return Parent{Name: t.Manifest.Name, ID: t.Manifest.ID} }

// Image is the template's memory; it must not be used after Close.
func (t *Template) Image() *Image { return t.image }

// Close closes the template's files.
func (t *Template) Close() {
	for _, m := range t.chain {
		m.close()
	}
	t.chain = nil
}

func (m *member) close() {
	for _, f := range []*os.File{m.state, m.memory} {
		if f != nil {
			f.Close()
		}
	}
}

// State reads the machine state; its parser checks it.
func (t *Template) State() ([]byte, error) { return t.chain[0].readState() }

func (m *member) readState() ([]byte, error) {
	if m.state == nil {
		return nil, errors.New("state is missing")
	}
	if err := checkSize(m.state, "state", m.manifest.State.SizeBytes); err != nil {
		return nil, err
	}
	b := make([]byte, m.manifest.State.SizeBytes)
	if _, err := m.state.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	return b, nil
}

// CheckDisks tells which disk changed since the snapshot: the guest's memory would no longer fit it.
func (t *Template) CheckDisks() error {
	for i, d := range t.Manifest.Config.Disks {
		now, err := disk.StampOf(d.Path)
		if err != nil {
			return fmt.Errorf("disk of template %s: %w", t.Manifest.Name, err)
		}
		if err := t.CheckDisk(i, now); err != nil {
			return err
		}
	}
	return nil
}

// CheckDisk does so for disk i of the configuration, as it is now. Disks that the template does not have are nobody's to check.
func (t *Template) CheckDisk(i int, now disk.Stamp) error {
	if i >= len(t.Manifest.Disks) || now == t.Manifest.Disks[i] {
		return nil
	}
	return fmt.Errorf("disk %s was changed after template %s was taken, whose memory no longer fits it: "+
		"restore the image or take the template anew", t.Manifest.Config.Disks[i].Path, t.Manifest.Name)
}

// Verify reads the whole template, and all those it builds on, and compares every checksum. progress is called with bytes
// of memory.
func (t *Template) Verify(progress func(done, total uint64)) error {
	total := uint64(len(t.chain)) * t.Manifest.Memory.SizeBytes
	done := uint64(0)
	for _, m := range t.chain {
		err := m.verify(func(n uint64) {
			done += n
			progress(done, total)
		})
		if err != nil && m != t.chain[0] {
			err = fmt.Errorf("template %s, which it builds on: %w", m.manifest.Name, err)
		}
		if err != nil {
			return fmt.Errorf("template %s: %w", t.Manifest.Name, err)
		}
	}
	return nil
}

func (m *member) verify(progress func(bytes uint64)) error {
	state, err := m.readState()
	if err == nil && describe(state) != m.manifest.State {
		err = errors.New("state is damaged: its checksum does not match")
	}
	if err != nil {
		return err
	}
	return verifyMemory(m.memory, m.manifest.Memory, progress)
}
