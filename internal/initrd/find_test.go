package initrd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindModules(t *testing.T) {
	const v = "6.12.0-find"
	for _, c := range []struct {
		name    string
		modules string // where they are; %V is appended
		kernel  string
		extra   []string
		links   map[string]string
	}{
		{name: "beside the kernel", modules: "k/lib/modules", kernel: "k/vmlinuz"},
		{name: "beside the kernel, /usr merged", modules: "k/usr/lib/modules", kernel: "k/vmlinuz"},
		{name: "beside the kernel's directory", modules: "lib/modules", kernel: "boot/vmlinuz-6"},
		{name: "behind a link to the kernel", modules: "other/lib/modules", kernel: "k/vmlinuz", links: map[string]string{"k/vmlinuz": "../other/boot/vmlinuz"}},
		{name: "a directory with lib/modules", modules: "m/lib/modules", kernel: "k/vmlinuz", extra: []string{"m"}},
		{name: "lib/modules itself", modules: "m/lib/modules", kernel: "k/vmlinuz", extra: []string{"m/lib/modules"}},
		{name: "the directory itself", modules: "m", kernel: "k/vmlinuz", extra: []string{"", "m/" + v}},
		{name: "a link to it", modules: "m", kernel: "k/vmlinuz", extra: []string{"mine"}, links: map[string]string{"mine": "m/" + v}},
		{name: "the host's own", modules: "host/usr/lib/modules", kernel: "k/vmlinuz"},
	} {
		base, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		at := func(p string) string { return filepath.Join(base, p) }
		dir := filepath.Join(at(c.modules), v)
		for _, d := range []string{filepath.Join(dir, "kernel"), at("k"), at("other/boot"), at("boot")} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range []string{dir + "/modules.dep", at("other/boot/vmlinuz"), at("boot/vmlinuz-6")} {
			if err := os.WriteFile(f, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for link, to := range c.links {
			if err := os.Symlink(to, at(link)); err != nil {
				t.Fatal(err)
			}
		}
		var extra []string
		for _, e := range c.extra {
			if e != "" {
				e = at(e)
			}
			extra = append(extra, e)
		}
		got, err := findModules(candidates(at(c.kernel), v, extra, at("host")), v)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got, err = filepath.EvalSymlinks(got); err != nil || got != dir {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, dir)
		}
	}
}

func TestFindModulesErrors(t *testing.T) {
	const v = "0.0.1-nowhere"
	base := t.TempDir()
	_, err := FindModules(base+"/boot/vmlinuz", v, base+"/mine")
	if !errors.Is(err, ErrNoModules) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{v, base + "/boot/lib/modules/" + v, base + "/lib/modules/" + v, base + "/mine", "/usr/lib/modules/" + v, "unpack"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}

	// Modules as a .deb unpacks them: depmod never ran.
	dir := filepath.Join(base, "usr/lib/modules", v)
	if err := os.MkdirAll(filepath.Join(dir, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := FindModules(base+"/vmlinuz", v); err == nil || !strings.Contains(err.Error(), "depmod -b "+base) {
		t.Errorf("no index: %v", err)
	}

	// A directory of another kernel is not this one's, even when named.
	other := filepath.Join(base, "6.1.0-other")
	if err := errors.Join(os.MkdirAll(other+"/kernel", 0o755), os.WriteFile(other+"/modules.dep", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if dir, err := FindModules("", "0.0.2-nowhere", other); err == nil {
		t.Errorf("took %s", dir)
	}
	for _, bad := range []string{"", "..", "a/b"} {
		if _, err := FindModules("", bad); err == nil || errors.Is(err, ErrNoModules) {
			t.Errorf("version %q: %v", bad, err)
		}
	}
}
