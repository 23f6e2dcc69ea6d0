package rootfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettle(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for _, d := range []string{"etc/systemd", "var/cache/apt/archives/partial", "var/lib/apt/lists", "var/log/apt", "tmp", "var/lib/dbus"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("builder\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "etc/machine-id"), []byte("0123\n"), 0o444))
	must(t, os.WriteFile(filepath.Join(dir, "var/lib/dbus/machine-id"), []byte("0123\n"), 0o444))
	must(t, os.WriteFile(filepath.Join(dir, "var/cache/apt/archives/partial/x.deb"), []byte("x"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "var/log/apt/history.log"), []byte("x"), 0o644))
	// What a hostile package would plant.
	victim := filepath.Join(outside, "victim")
	must(t, os.WriteFile(victim, []byte("safe"), 0o644))
	must(t, os.Symlink(victim, filepath.Join(dir, "etc/resolv.conf")))
	must(t, os.Symlink(outside, filepath.Join(dir, "var/log/link")))
	must(t, settle(dir))
	must(t, settle(dir)) // and again, over its own result

	for path, want := range map[string]string{
		"etc/hostname": "clone\n", "etc/machine-id": "", "etc/resolv.conf": "",
	} {
		b, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v; want %q", path, b, err, want)
		}
		info, err := os.Lstat(filepath.Join(dir, path))
		if err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}
	b, _ := os.ReadFile(filepath.Join(dir, "etc/systemd/system/serial-getty@.service.d/autologin.conf"))
	if !strings.Contains(string(b), "--autologin root") {
		t.Error("no autologin on the serial console")
	}
	if to, err := os.Readlink(filepath.Join(dir, "etc/systemd/system/systemd-networkd-wait-online.service")); err != nil || to != "/dev/null" {
		t.Errorf("the network wait is not masked: %q, %v", to, err)
	}
	for _, gone := range []string{"var/cache/apt/archives/partial/x.deb", "var/log/apt/history.log", "var/lib/dbus/machine-id", "var/log/link"} {
		if _, err := os.Lstat(filepath.Join(dir, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "var/cache/apt/archives/partial")); err != nil {
		t.Errorf("a package's directory is gone: %v", err)
	}
	if b, _ := os.ReadFile(victim); string(b) != "safe" {
		t.Error("a link led out of the tree")
	}
}

func TestDebootstrapArgs(t *testing.T) {
	o := Options{Output: "x", Distro: "debian", Include: []string{"vim"}, Mirror: "http://mirror/debian"}
	must(t, o.check())
	args := strings.Join(debootstrapArgs(o, "/tree"), " ")
	for _, want := range []string{"--variant=minbase", "--force-check-gpg", "systemd-sysv", ",vim bookworm /tree http://mirror/debian"} {
		if !strings.Contains(args, want) {
			t.Errorf("%q misses %q", args, want)
		}
	}
	if a := advice([]string{"E: Couldn't find these debs: nosuch"}); !strings.Contains(a, "--include") {
		t.Errorf("advice %q", a)
	}
}

func TestBootstrapErrorTellsWhy(t *testing.T) {
	dir := t.TempDir()
	failed := &toolError{name: "debootstrap", err: errors.New("exit status 1"), last: []string{"I: Unpacking", "I: Configuring"}}
	err := bootstrapError("bookworm", dir, failed, []string{"E: Couldn't find these debs: nosuch"})
	if s := err.Error(); !strings.Contains(s, "nosuch") || !strings.Contains(s, "--include") || strings.Contains(s, "Unpacking") {
		t.Errorf("error %q", s)
	}
	must(t, os.Mkdir(filepath.Join(dir, "debootstrap"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "debootstrap/debootstrap.log"), []byte("dpkg: error processing package x\n"), 0o644))
	if s := bootstrapError("bookworm", dir, failed, nil).Error(); !strings.Contains(s, "processing package x") {
		t.Errorf("the log is not told: %q", s)
	}
	if err := bootstrapError("bookworm", dir, context.Canceled, nil); err != context.Canceled {
		t.Errorf("a cancel became %v", err)
	}
}
