package initrd

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"clone/internal/initrd/bootconf"
)

const version = "6.12.0-test"

// tree is a kernel's module directory to be.
type tree struct {
	dep     []string // lines of modules.dep; the files are made from them
	builtin []string
	softdep []string
	alias   []string
	modinfo []string
}

// distro is laid out like Debian's cloud kernel, each module packed another way.
func distro() tree {
	return tree{
		dep: []string{
			"kernel/drivers/virtio/virtio_ring.ko:",
			"kernel/drivers/virtio/virtio.ko.gz: kernel/drivers/virtio/virtio_ring.ko",
			"kernel/drivers/virtio/virtio_mmio.ko.xz: kernel/drivers/virtio/virtio.ko.gz kernel/drivers/virtio/virtio_ring.ko",
			"kernel/drivers/block/virtio_blk.ko.zst: kernel/drivers/virtio/virtio.ko.gz kernel/drivers/virtio/virtio_ring.ko",
			"kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko.gz kernel/drivers/virtio/virtio_ring.ko",
			"kernel/net/vmw_vsock/vsock.ko:",
			"kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko: kernel/net/vmw_vsock/vsock.ko kernel/drivers/virtio/virtio.ko.gz kernel/drivers/virtio/virtio_ring.ko",
			"kernel/fs/jbd2/jbd2.ko:", "kernel/fs/mbcache.ko:",
			"kernel/fs/ext4/ext4.ko: kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko",
			"kernel/crypto/crc32c_generic.ko:",
			"kernel/fs/overlayfs/overlay.ko:",
			"kernel/fs/xfs/xfs.ko: kernel/lib/libcrc32c.ko",
			"kernel/lib/libcrc32c.ko:",
		},
		softdep: []string{"# comment", "softdep ext4 pre: crc32c", "softdep ext4 nls"},
		alias:   []string{"alias crypto-crc32c crc32c_generic", "alias virtio:d00000002v* virtio_blk"},
	}
}

// make writes the tree below base and returns the module directory.
func (tr tree) make(t *testing.T, base string) string {
	t.Helper()
	dir := filepath.Join(base, "lib/modules", version)
	write := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range tr.dep {
		file, _, _ := strings.Cut(line, ":")
		write(file, pack(t, file, elf(moduleName(file))))
	}
	for name, lines := range map[string][]string{
		"modules.dep": tr.dep, "modules.builtin": tr.builtin, "modules.softdep": tr.softdep, "modules.alias": tr.alias,
	} {
		write(name, []byte(strings.Join(lines, "\n")+"\n"))
	}
	write("modules.builtin.modinfo", []byte(strings.Join(tr.modinfo, "\x00")+"\x00"))
	return dir
}

func elf(name string) []byte { return []byte("\x7fELF module " + name) }

func pack(t *testing.T, file string, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch filepath.Ext(file) {
	case ".gz":
		w = gzip.NewWriter(&out)
	case ".xz":
		w, err = xz.NewWriter(&out)
	case ".zst":
		w, err = zstd.NewWriter(&out)
	default:
		return data
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var testPrograms = &Programs{Init: []byte("init program"), Agent: []byte("agent program")}

// unpack reads an archive back: names in order, and content.
func unpack(t *testing.T, archive []byte) (names []string, files map[string]string, modes map[string]cpio.FileMode) {
	t.Helper()
	files, modes = map[string]string{}, map[string]cpio.FileMode{}
	r := cpio.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, files, modes
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names, files[h.Name], modes[h.Name] = append(names, h.Name), string(b), h.Mode
	}
}

func TestBuild(t *testing.T) {
	dir := distro().make(t, t.TempDir())
	c := Config{KernelVersion: version, ModuleDir: dir, Programs: testPrograms,
		Guest: bootconf.Config{Root: bootconf.RootOverlay, Hostname: "vm"}}
	archive, err := Build(c)
	if err != nil {
		t.Fatal(err)
	}
	names, files, modes := unpack(t, archive)
	if files["init"] != "init program" || files["clone-agent"] != "agent program" {
		t.Error("the guest programs are not in the archive")
	}
	if modes["init"] != cpio.TypeReg|0o755 || modes["tmp"] != cpio.TypeDir|cpio.ModeSticky|0o777 {
		t.Errorf("modes: init %o, tmp %o", modes["init"], modes["tmp"])
	}
	guest, err := bootconf.ParseConfig(files["clone.conf"])
	if err != nil || guest != (bootconf.Config{Root: bootconf.RootOverlay, RootDevice: "/dev/vda", Hostname: "vm"}) {
		t.Errorf("configuration %+v, %v", guest, err)
	}
	list, err := bootconf.ParseModules(files["modules.list"])
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, m := range list {
		_, name, _ := strings.Cut(strings.TrimSuffix(m.File, ".ko"), "-")
		order = append(order, name)
		if files["modules/"+m.File] != string(elf(name)) {
			t.Errorf("%s holds %q", m.File, files["modules/"+m.File])
		}
	}
	want := []string{"virtio_ring", "virtio", "virtio_mmio", "virtio_blk", "vsock", "vmw_vsock_virtio_transport", "virtio_rng",
		"crc32c_generic", "jbd2", "mbcache", "ext4", "overlay"}
	if !slices.Equal(order, want) {
		t.Errorf("order %v\nwant  %v", order, want)
	}
	for _, n := range names {
		if parent := filepath.Dir(n); parent != "." && !slices.Contains(names[:slices.Index(names, n)], parent) {
			t.Errorf("%s comes before its directory", n)
		}
	}
	again, err := Build(c)
	if err != nil || !bytes.Equal(archive, again) {
		t.Error("the same input gave other bytes")
	}
	if len(archive)%512 != 0 {
		t.Errorf("%d bytes are no whole blocks", len(archive))
	}
}

func TestOptionalModulesAreMarked(t *testing.T) {
	dir := distro().make(t, t.TempDir())
	for _, c := range []struct {
		root     bootconf.RootMode
		optional []string
	}{
		{bootconf.RootNone, []string{"virtio_blk", "virtio_rng", "overlay"}},
		{bootconf.RootReadWrite, []string{"virtio_rng", "crc32c_generic", "overlay"}},
		{bootconf.RootOverlay, []string{"virtio_rng", "crc32c_generic"}},
	} {
		x, err := readIndex(dir)
		if err != nil {
			t.Fatal(err)
		}
		order, err := resolve(x, needs(c.root, "ext4"))
		if err != nil {
			t.Fatal(err)
		}
		var optional []string
		for _, m := range order {
			if m.optional {
				optional = append(optional, m.name)
			}
		}
		if !slices.Equal(optional, c.optional) {
			t.Errorf("%s: optional %v, want %v", c.root, optional, c.optional)
		}
	}
}

// A module first met through an optional one is required once a required one
// needs it, and so is all that it needs.
func TestSharedDependencyBecomesRequired(t *testing.T) {
	x, err := readIndex(tree{dep: []string{"a.ko:", "b.ko: a.ko", "opt.ko: b.ko a.ko", "req.ko: b.ko a.ko"}}.make(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	order, err := resolve(x, []need{{module: "opt", optional: true}, {module: "req"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(order); got != "[{a a.ko false} {b b.ko false} {opt opt.ko true} {req req.ko false}]" {
		t.Error(got)
	}
}

func TestSoftDependencies(t *testing.T) {
	for _, c := range []struct {
		name string
		tree tree
		want string
	}{
		{"a module by name", tree{dep: []string{"fs.ko:", "sum.ko:"}, softdep: []string{"softdep fs pre: sum"}}, "sum fs"},
		{"post", tree{dep: []string{"fs.ko:", "sum.ko:"}, softdep: []string{"softdep fs post: sum"}}, "fs sum"},
		{"an alias", tree{dep: []string{"fs.ko:", "sum.ko:"}, softdep: []string{"softdep fs pre: crypto-x"}, alias: []string{"alias crypto-x sum"}}, "sum fs"},
		{"crypto's alias", tree{dep: []string{"fs.ko:", "sum.ko:"}, softdep: []string{"softdep fs pre: x"}, alias: []string{"alias crypto-x sum"}}, "sum fs"},
		{"nowhere", tree{dep: []string{"fs.ko:"}, softdep: []string{"softdep fs pre: gone"}}, "fs"},
		{"built in", tree{dep: []string{"fs.ko:"}, builtin: []string{"kernel/sum.ko"}, modinfo: []string{"sum.alias=crypto-x"}, softdep: []string{"softdep fs pre: x"}}, "fs"},
		{"a circle", tree{dep: []string{"fs.ko:", "sum.ko:"}, softdep: []string{"softdep fs pre: sum", "softdep sum pre: fs"}}, "sum fs"},
		{"with a hole of its own", tree{dep: []string{"fs.ko:", "sum.ko: gone.ko"}, softdep: []string{"softdep fs pre: sum"}}, "fs"},
	} {
		x, err := readIndex(c.tree.make(t, t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		order, err := resolve(x, []need{{module: "fs"}})
		var names []string
		for _, m := range order {
			names = append(names, m.name)
		}
		if got := strings.Join(names, " "); got != c.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
	}
}

func TestBuiltInNeedNoFile(t *testing.T) {
	tr := tree{
		dep:     []string{"kernel/drivers/virtio/virtio_mmio.ko:"},
		builtin: []string{"kernel/drivers/block/virtio_blk.ko", "kernel/fs/ext4/ext4.ko", "kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko"},
	}
	archive, err := Build(Config{KernelVersion: version, ModuleDir: tr.make(t, t.TempDir()), Programs: testPrograms,
		Guest: bootconf.Config{Root: bootconf.RootReadWrite}})
	if err != nil {
		t.Fatal(err)
	}
	if _, files, _ := unpack(t, archive); files["modules.list"] != "need 000-virtio_mmio.ko\n" {
		t.Errorf("list %q", files["modules.list"])
	}
}

func TestBuildErrors(t *testing.T) {
	without := func(name string) tree {
		tr := distro()
		tr.dep = slices.DeleteFunc(tr.dep, func(l string) bool { return moduleName(strings.SplitN(l, ":", 2)[0]) == name })
		return tr
	}
	overlay := bootconf.Config{Root: bootconf.RootOverlay}
	for _, c := range []struct {
		name  string
		tree  tree
		guest bootconf.Config
		want  string
	}{
		{"no transport", without("virtio_mmio"), bootconf.Config{}, "CONFIG_VIRTIO_MMIO"},
		{"no disk driver", without("virtio_blk"), overlay, "CONFIG_VIRTIO_BLK"},
		{"no vsock", without("vmw_vsock_virtio_transport"), overlay, "CONFIG_VIRTIO_VSOCKETS"},
		{"no overlay", without("overlay"), overlay, "CONFIG_OVERLAY_FS"},
		{"no file system", without("ext4"), overlay, "CONFIG_EXT4_FS"},
		{"no other file system", distro(), bootconf.Config{Root: bootconf.RootOverlay, RootFSType: "btrfs"}, "CONFIG_BTRFS_FS"},
		{"strange file system", distro(), bootconf.Config{Root: bootconf.RootOverlay, RootFSType: "ntfs"}, "cannot be a root"},
		{"half a package", without("jbd2"), overlay, "module jbd2 is needed"},
		{"bad guest configuration", distro(), bootconf.Config{Hostname: "a\nb"}, "line break"},
		{"path out of the directory", tree{dep: []string{"../../etc/x.ko:"}}, overlay, "inside the directory"},
	} {
		// make would write out of the directory too: give that one its index only.
		dir := filepath.Join(t.TempDir(), version)
		if strings.HasPrefix(c.tree.dep[0], "..") {
			if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(c.tree.dep[0]), 0o644)); err != nil {
				t.Fatal(err)
			}
		} else {
			dir = c.tree.make(t, t.TempDir())
		}
		_, err := Build(Config{KernelVersion: version, ModuleDir: dir, Guest: c.guest, Programs: testPrograms})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	dir := distro().make(t, t.TempDir())
	if _, err := Build(Config{KernelVersion: "6.1.0-other", ModuleDir: dir, Programs: testPrograms}); err == nil || !strings.Contains(err.Error(), "another kernel") {
		t.Errorf("modules of another kernel: %v", err)
	}
	if _, err := Build(Config{KernelVersion: version, ModuleDir: dir, Programs: &Programs{}}); !errors.Is(err, ErrNoPrograms) {
		t.Errorf("no programs: %v", err)
	}
}

func TestBuildWithoutModules(t *testing.T) {
	archive, err := Build(Config{Programs: testPrograms})
	if err != nil {
		t.Fatal(err)
	}
	if _, files, _ := unpack(t, archive); files["modules.list"] != "" || files["clone.conf"] != "" {
		t.Errorf("list %q, configuration %q", files["modules.list"], files["clone.conf"])
	}
}

func TestReadPrograms(t *testing.T) {
	both := fstest.MapFS{"programs/clone-init": {Data: []byte("i")}, "programs/clone-agent": {Data: []byte("a")}}
	if p, err := readPrograms(both); err != nil || string(p.Init) != "i" || string(p.Agent) != "a" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, missing := range []string{"programs/clone-init", "programs/clone-agent"} {
		one := fstest.MapFS{"programs/.gitignore": {}}
		for k, v := range both {
			if k != missing {
				one[k] = v
			}
		}
		if _, err := readPrograms(one); !errors.Is(err, ErrNoPrograms) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

func TestDecompress(t *testing.T) {
	plain := bytes.Repeat(elf("x"), 1000)
	for _, ext := range []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"} {
		packed := pack(t, "m"+ext, plain)
		if got, err := decompress(packed, int64(len(plain))); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", ext, len(got), err)
		}
		if ext == ".ko" {
			continue
		}
		if _, err := decompress(packed, int64(len(plain))-1); err == nil {
			t.Errorf("%s: the limit does not hold", ext)
		}
		if _, err := decompress(packed[:len(packed)/2], 1<<20); err == nil {
			t.Errorf("%s: half a file passed", ext)
		}
	}
	name := filepath.Join(t.TempDir(), "x.ko")
	if err := os.WriteFile(name, []byte("not a module"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readModule(name); err == nil {
		t.Error("took a text for a module")
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add([]byte("\xfd7zXZ\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		const limit = 1 << 16
		if len(packed) > limit {
			return
		}
		if plain, err := decompress(packed, limit); err == nil && len(plain) > limit {
			t.Errorf("%d bytes", len(plain))
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add("k/a.ko: k/b.ko\nk/b.ko:\n", "softdep a pre: b post: a", "alias x a", "k/c.ko", "a.alias=y\x00")
	f.Fuzz(func(t *testing.T, dep, softdep, alias, builtin, modinfo string) {
		x := &index{files: map[string]string{}, deps: map[string][]string{}, builtin: map[string]bool{},
			softPre: map[string][]string{}, softPost: map[string][]string{}, aliases: map[string][]string{}}
		for _, err := range []error{x.parseDep(dep), x.parseSoftdep(softdep), x.parseAlias(alias), x.parseBuiltin(builtin), x.parseBuiltinModinfo(modinfo)} {
			if err != nil {
				return
			}
		}
		for name := range x.files {
			order, err := resolve(x, []need{{module: name}})
			if err != nil {
				continue
			}
			seen := map[string]bool{}
			for _, m := range order {
				if seen[m.name] || !filepath.IsLocal(m.file) {
					t.Errorf("%s twice, or outside: %s", m.name, m.file)
				}
				seen[m.name] = true
			}
		}
	})
}
