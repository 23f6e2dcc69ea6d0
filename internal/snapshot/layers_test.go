package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// machine is a model of one that runs: its memory, and what it knows of where that came from.
type machine struct {
	ram
	base *Template // nil: booted
}

func bootMachine(t *testing.T) *machine {
	t.Helper()
	return &machine{ram: ram{b: mapped(t, memMiB<<20), own: map[uint64]bool{}}}
}

// mapped is memory outside Go's heap, as that of guests is: there the race detector has no shadow to fill, which is most of the
// time that tests with a lot of it take.
func mapped(t *testing.T, size int) []byte {
	t.Helper()
	b, unmap := mapping(t, size)
	t.Cleanup(unmap)
	return b
}

// mapping is the same, for less than a whole test.
func mapping(t *testing.T, size int) (b []byte, unmap func()) {
	t.Helper()
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	return b, func() { _ = unix.Munmap(b) }
}

// forkOf is a new machine that begins with what the template was of.
func forkOf(t *testing.T, s *Store, name string, content []byte) *machine {
	t.Helper()
	m := bootMachine(t)
	m.base = open(t, s, name)
	copy(m.b, content)
	return m
}

func open(t *testing.T, s *Store, name string) *Template {
	t.Helper()
	tpl, err := s.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tpl.Close)
	return tpl
}

func (m *machine) set(page uint64, fill byte) {
	p := m.b[page*pageSize : (page+1)*pageSize]
	for i := range p {
		p[i] = fill
	}
	m.own[page] = true
}

// work writes n random pages: noise, zeros, and what was there already.
func (m *machine) work(r *rand.Rand, n int) {
	for range n {
		page := r.Uint64N(uint64(len(m.b)) / pageSize)
		switch r.IntN(6) {
		case 0:
			m.set(page, 0)
		case 1:
			m.own[page] = true
		case 2: // a run
			for range r.Uint64N(40) {
				m.set(page, byte(r.Uint32()))
				page = (page + 1) % (uint64(len(m.b)) / pageSize)
			}
		default:
			m.set(page, byte(r.Uint32()))
		}
	}
}

func (m *machine) contents() Contents {
	c := Contents{Own: &m.ram}
	if m.base != nil {
		c.Base = m.base.Image()
	}
	return c
}

// store stores the machine over a parent, or whole.
func (m *machine) store(t *testing.T, s *Store, name string, parent *Template) *Manifest {
	t.Helper()
	w, err := s.Create(name, manifest())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if parent == nil {
		err = w.Memory(context.Background(), m.contents())
	} else {
		err = w.Layer(context.Background(), m.contents(), parent)
	}
	if err = errors.Join(err, w.State([]byte("state of "+name))); err != nil {
		t.Fatal(err)
	}
	sealed, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// check compares a template with the model, read as a fork would map it.
func check(t *testing.T, s *Store, name string, want []byte) {
	t.Helper()
	tpl, err := s.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer tpl.Close()
	got, unmap := mapping(t, len(want))
	defer unmap()
	at := uint64(0)
	for _, p := range tpl.Image().Pieces() {
		if p.Page != at || p.Pages == 0 || p.end()*pageSize > uint64(len(want)) {
			t.Fatalf("%s: a piece of %d pages begins at page %d, not %d", name, p.Pages, p.Page, at)
		}
		if piece := got[p.Page*pageSize : p.end()*pageSize]; p.File != nil {
			if _, err := p.File.ReadAt(piece, int64(p.Page*pageSize)); err != nil {
				t.Fatal(err)
			}
		}
		at = p.end()
	}
	if at*pageSize != uint64(len(want)) {
		t.Fatalf("%s: %d pages", name, at)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: mapped, it differs", name)
	}
	clear(got)
	if _, err := tpl.Image().read(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: read differs: %v", name, err)
	}
}

// TestLayersAgainstAModel stores five levels of forks, with siblings, snapshots of a machine over earlier ones of itself,
// and flattened templates in between; each template must always be what its machine was.
func TestLayersAgainstAModel(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			s := newStore(t)
			model := map[string][]byte{}
			keep := func(name string, m *machine, parent *Template) {
				sealed := m.store(t, s, name, parent)
				model[name] = mapped(t, len(m.b))
				copy(model[name], m.b)
				if parent != nil && sealed.Memory.StoredBytes >= memMiB<<20 {
					t.Errorf("%s stores everything", name)
				}
			}
			source := bootMachine(t)
			source.work(r, 200)
			keep("base", source, nil)
			source.work(r, 30)
			keep("later", source, open(t, s, "base")) // of the booted machine, over itself
			source.work(r, 30)
			keep("latest", source, open(t, s, "later"))
			parent := "base"
			for level := range 5 {
				a, b := forkOf(t, s, parent, model[parent]), forkOf(t, s, parent, model[parent])
				a.work(r, 20+1500*(level/3))
				b.work(r, 20)
				name, sibling := fmt.Sprintf("a%d", level), fmt.Sprintf("b%d", level)
				keep(name, a, open(t, s, parent))
				keep(sibling, b, open(t, s, parent))
				// Pages change, and some change back to what the first template had.
				a.work(r, 20)
				for page := range a.own {
					if r.IntN(3) == 0 {
						copy(a.b[page*pageSize:(page+1)*pageSize], model[parent][page*pageSize:])
					}
				}
				keep(name+"-again", a, open(t, s, name))
				if level == 2 {
					if err := s.Flatten(t.Context(), name, func(done, total uint64) {}); err != nil {
						t.Fatal(err)
					}
					a.work(r, 5) // its base was flattened under it
					keep(name+"-after", a, open(t, s, name))
				}
				a.work(r, 5)
				keep(name+"-full", a, nil)
				parent = name
			}
			for name, want := range model {
				check(t, s, name, want)
			}
			for _, name := range slices.Sorted(maps.Keys(model)) {
				if err := s.Flatten(t.Context(), name, func(done, total uint64) {}); err != nil {
					t.Fatal(err)
				}
			}
			for name, want := range model {
				check(t, s, name, want)
				if m := open(t, s, name).Manifest; m.Parent != nil || m.Index != nil {
					t.Errorf("%s still builds on %v", name, m.Parent)
				}
				if err := verify(s, name); err != nil {
					t.Error(err)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(s.root, asidePrefix+"*")); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestLayerStoresOnlyWhatDiffers counts bytes and extents.
func TestLayerStoresOnlyWhatDiffers(t *testing.T) {
	s := newStore(t)
	source := bootMachine(t)
	for page := range uint64(8192) {
		source.set(page, 7)
	}
	source.store(t, s, "base", nil)
	fork := forkOf(t, s, "base", source.b)
	fork.set(5, 1)
	fork.set(6, 7) // its own, and no other
	fork.set(7, 0)
	fork.set(9000, 0) // zero as before
	fork.set(9001, 3)
	if m := fork.store(t, s, "small", open(t, s, "base")); m.Memory.StoredBytes != 2*pageSize {
		t.Errorf("stored %d bytes of two pages", m.Memory.StoredBytes)
	}
	want := []Extent{{5, 1, false}, {7, 1, true}, {9001, 1, false}}
	if got := open(t, s, "small").chain[0].extents; !slices.Equal(got, want) {
		t.Errorf("extents %v, want %v", got, want)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(s.root, "small", "memory"), &st); err != nil || st.Blocks*512 > 64<<10 {
		t.Errorf("memory takes %d bytes on disk: %v", st.Blocks*512, err)
	}
	check(t, s, "small", fork.b)

	// Nothing at all.
	idle := forkOf(t, s, "small", fork.b)
	if m := idle.store(t, s, "idle", open(t, s, "small")); m.Memory.StoredBytes != 0 {
		t.Errorf("an idle fork stored %d bytes", m.Memory.StoredBytes)
	}
	check(t, s, "idle", fork.b)

	// Every other page, so that each would be an extent.
	for page := uint64(0); page < 8192; page += 2 {
		fork.set(page, byte(page%3))
	}
	m := fork.store(t, s, "scattered", open(t, s, "base"))
	if n := len(open(t, s, "scattered").chain[0].extents); n > maxExtents || m.Memory.StoredBytes > 8300*pageSize {
		t.Errorf("%d extents, %d bytes", n, m.Memory.StoredBytes)
	}
	check(t, s, "scattered", fork.b)
}

// family makes base, middle over it and top over that, and returns the memory of top.
func family(t *testing.T, s *Store) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	m := bootMachine(t)
	m.work(r, 50)
	m.store(t, s, "base", nil)
	for _, step := range [][2]string{{"base", "middle"}, {"middle", "top"}} {
		m = forkOf(t, s, step[0], m.b)
		m.work(r, 20)
		m.set(3, 5)
		m.store(t, s, step[1], open(t, s, step[0]))
	}
	return m.b
}

// TestAnyFlippedBitIsFound flips bits in every file of a template and of those it builds on.
func TestAnyFlippedBitIsFound(t *testing.T) {
	s := newStore(t)
	family(t, s)
	for _, name := range []string{"base", "middle", "top"} {
		for file, stride := range map[string]int64{"manifest.json": 31, "manifest.sha256": 7, "state": 1, "memory.map": 13, "memory": 97 * 4096 * 3 / 2} {
			if name == "base" && file == "memory.map" {
				continue
			}
			path := filepath.Join(s.root, name, file)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			for at := int64(0); at < info.Size()-1; at += stride {
				flip(t, path, at)
				if err := verify(s, "top"); err == nil {
					t.Errorf("%s of %s: a flipped bit at %d is not found", file, name, at)
				}
				flip(t, path, at)
			}
		}
		for _, e := range open(t, s, name).chain[0].extents { // each stored page
			for page := e.Page; page < e.end() && !e.Zero; page++ {
				path, at := filepath.Join(s.root, name, "memory"), int64(page*pageSize+page%pageSize)
				flip(t, path, at)
				if err := verify(s, "top"); err == nil {
					t.Errorf("page %d of %s: a flipped bit is not found", page, name)
				}
				flip(t, path, at)
			}
		}
	}
	if err := verify(s, "top"); err != nil {
		t.Error(err)
	}
}

// TestFilledHolesOfALayer: whoever copies a layer may fill its holes.
func TestFilledHolesOfALayer(t *testing.T) {
	s := newStore(t)
	want := family(t, s)
	for _, name := range []string{"middle", "top"} {
		path := filepath.Join(s.root, name, "memory")
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	check(t, s, "top", want)
	if err := verify(s, "top"); err != nil {
		t.Error(err)
	}
}

func TestBrokenChains(t *testing.T) {
	for _, c := range []struct {
		name, want string
		harm       func(t *testing.T, s *Store) error
	}{
		{"base gone", "template base, which it builds on, is gone", func(t *testing.T, s *Store) error { return s.Remove([]string{"base"}, true) }},
		{"middle gone", "template middle, which it builds on, is gone", func(t *testing.T, s *Store) error { return s.Remove([]string{"middle"}, true) }},
		{"base replaced", "template base, which it builds on, was replaced", func(t *testing.T, s *Store) error {
			err := s.Remove([]string{"base"}, true)
			bootMachine(t).store(t, s, "base", nil)
			return err
		}},
		{"circle", "it builds on itself", func(t *testing.T, s *Store) error {
			b, err := os.ReadFile(filepath.Join(s.root, "middle", "memory.map"))
			if err == nil {
				err = os.WriteFile(filepath.Join(s.root, "base", "memory.map"), b, 0o600)
			}
			return errors.Join(err, reparent(s, "base", func(m *Manifest) {
				top := open(t, s, "top").Ref()
				m.Parent, m.Index = &top, open(t, s, "middle").Manifest.Index
			}))
		}},
		{"itself", "it builds on itself", func(t *testing.T, s *Store) error {
			return reparent(s, "top", func(m *Manifest) { *m.Parent = Parent{m.Name, m.ID} })
		}},
		{"other size", "bytes of memory", func(t *testing.T, s *Store) error {
			err := reparent(s, "base", func(m *Manifest) {
				m.Config.MemoryMiB, m.Memory.SizeBytes, m.Memory.Sums = 2*memMiB, 2*memMiB<<20, append(m.Memory.Sums, m.Memory.Sums...)
			})
			return errors.Join(err, os.Truncate(filepath.Join(s.root, "base", "memory"), 2*memMiB<<20))
		}},
		{"base cut", "memory is truncated", cut("base", "memory")},
		{"middle cut", "memory is truncated", cut("middle", "memory")},
		{"top cut", "memory is truncated", cut("top", "memory")},
		{"index cut", "memory.map is damaged", cut("middle", "memory.map")},
		{"index gone", "no such file", func(t *testing.T, s *Store) error { return os.Remove(filepath.Join(s.root, "middle", "memory.map")) }},
		{"base open to others", "can be written by others", func(t *testing.T, s *Store) error { return os.Chmod(filepath.Join(s.root, "base"), 0o777) }},
		{"base is someone else's", "belongs to user 4242", func(t *testing.T, s *Store) error { return os.Chown(filepath.Join(s.root, "base"), 4242, 0) }},
		{"base damaged", "manifest is damaged", cut("base", "manifest.json")},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			family(t, s)
			if err := c.harm(t, s); err != nil {
				t.Fatal(err)
			}
			tpl, err := s.Open("top")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "template top") || errors.Is(err, ErrNotFound) {
				t.Errorf("%v %v, want %q", tpl, err, c.want)
			}
			if _, err := s.List(); err != nil {
				t.Error(err)
			}
		})
	}
}

func cut(name, file string) func(*testing.T, *Store) error {
	return func(_ *testing.T, s *Store) error {
		path := filepath.Join(s.root, name, file)
		info, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, info.Size()-4)
		}
		return err
	}
}

// reparent edits a manifest as this program would have written it.
func reparent(s *Store, name string, edit func(*Manifest)) error {
	dir := filepath.Join(s.root, name)
	m, err := readManifest(os.DirFS(dir))
	if err != nil {
		return err
	}
	edit(m)
	os.Remove(filepath.Join(dir, "manifest.json"))
	os.Remove(filepath.Join(dir, "manifest.sha256"))
	w := &Writer{dir: dir, manifest: *m}
	return w.seal()
}

// TestFlattenRefusesDamage: a damaged layer must not get a checksum that fits.
func TestFlattenRefusesDamage(t *testing.T) {
	s := newStore(t)
	family(t, s)
	flip(t, filepath.Join(s.root, "base", "memory"), 9<<20)
	if err := s.Flatten(t.Context(), "top", func(done, total uint64) {}); err == nil || !strings.Contains(err.Error(), "memory is damaged") {
		t.Errorf("got %v", err)
	}
	if m := open(t, s, "top").Manifest; m.Parent == nil {
		t.Error("it was flattened all the same")
	}
}

// TestParentGoesDuringASnapshot: it cannot be committed any more.
func TestParentGoesDuringASnapshot(t *testing.T) {
	s := newStore(t)
	want := family(t, s)
	m := forkOf(t, s, "top", want)
	w, err := s.Create("late", manifest())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.State(nil), w.Layer(t.Context(), m.contents(), m.base)); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove([]string{"top"}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(); err == nil || !strings.Contains(err.Error(), "template top, which it builds on, is gone") {
		t.Errorf("commit: %v", err)
	}
	if s.Exists("late") {
		t.Error("it is there")
	}
	// The machine can still be stored whole: it holds what it was forked from.
	m.store(t, s, "whole", nil)
	check(t, s, "whole", want)
}

// TestDepthIsBounded builds a chain as long as it may be.
func TestDepthIsBounded(t *testing.T) {
	s := newStore(t)
	m := bootMachine(t)
	m.set(1, 1)
	m.store(t, s, "t1", nil)
	for i := 2; i <= maxDepth; i++ {
		m = forkOf(t, s, fmt.Sprintf("t%d", i-1), m.b)
		m.set(uint64(i), byte(i))
		m.store(t, s, fmt.Sprintf("t%d", i), m.base)
	}
	top := fmt.Sprintf("t%d", maxDepth)
	check(t, s, top, m.b)
	w, err := s.Create("deeper", manifest())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	deeper := forkOf(t, s, top, m.b)
	if err := w.Layer(t.Context(), deeper.contents(), deeper.base); err == nil || !strings.Contains(err.Error(), "clone template flatten "+top) {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotGivesUp(t *testing.T) {
	s := newStore(t)
	family(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w, err := s.Create("x", manifest())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.Memory(ctx, Contents{Own: newRAM()}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestReadPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, 2*pageSize), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im := &Image{pieces: []Piece{{Pages: 1, File: f}, {Page: 1, Pages: 2}, {Page: 3, Pages: 1, File: f}}}
	p := make([]byte, pageSize)
	if shared, err := im.ReadPage(p, 0); !shared || err != nil || p[0] != 7 || p[pageSize-1] != 7 {
		t.Errorf("a page of a file: %v, %v, %d", shared, err, p[0])
	}
	for _, page := range []uint64{1, 2} {
		if shared, err := im.ReadPage(p, page); shared || err != nil {
			t.Errorf("page %d, of no file: %v, %v", page, shared, err)
		}
	}
	for _, page := range []uint64{3, 4} {
		if _, err := im.ReadPage(p, page); err == nil {
			t.Errorf("page %d, beyond the end of the file or of the image, was read", page)
		}
	}
	if shared, err := (*Image)(nil).ReadPage(p, 0); shared || err != nil {
		t.Errorf("of a machine that was booted: %v, %v", shared, err)
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add(formatIndex(nil), uint64(100))
	f.Add(formatIndex([]Extent{{0, 1, false}, {1, 2, true}, {50, 50, false}}), uint64(100))
	f.Add(formatIndex([]Extent{{99, 2, false}}), uint64(100))
	f.Add(formatIndex([]Extent{{9, 2, false}, {10, 1, true}}), uint64(100))
	f.Add(formatIndex([]Extent{{1 << 63, 1 << 62, false}}), ^uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, pages uint64) {
		list, err := parseIndex(b, pages)
		if err != nil {
			return
		}
		at := uint64(0)
		for _, e := range list {
			if e.Pages == 0 || e.Page < at || e.end() < e.Page || e.end() > pages {
				t.Fatalf("%v of %d pages was accepted", list, pages)
			}
			at = e.end()
		}
		if len(list) > maxExtents || !bytes.Equal(formatIndex(list), b) {
			t.Errorf("%d extents", len(list))
		}
		if pages > 0 && pages < 1<<40 {
			pieces := over([]Piece{{Pages: pages, id: "b"}}, list, nil, "a")
			at = 0
			for _, p := range pieces {
				if p.Page != at || p.Pages == 0 {
					t.Fatalf("pieces %v of %v", pieces, list)
				}
				at = p.end()
			}
			if at != pages {
				t.Fatalf("pieces end at %d of %d", at, pages)
			}
		}
	})
}
