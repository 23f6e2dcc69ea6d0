package snapshot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What somebody else could have written is not run: the tests are root's, who can make it so.
func TestTrust(t *testing.T) {
	const other = 4242
	replace := func(t *testing.T, path string, with func() error) {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := with(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, want string
		harm       func(t *testing.T, dir string) error
	}{
		{"nothing", "", func(*testing.T, string) error { return nil }},
		{"copied, readable by all", "", func(t *testing.T, d string) error { return os.Chmod(d+"/memory", 0o644) }},
		{"manifest of another", "manifest.json belongs to user 4242", func(t *testing.T, d string) error { return os.Chown(d+"/manifest.json", other, 0) }},
		{"its sum of another", "manifest.sha256 belongs to user 4242", func(t *testing.T, d string) error { return os.Chown(d+"/manifest.sha256", other, 0) }},
		{"memory of another", "memory belongs to user 4242", func(t *testing.T, d string) error { return os.Chown(d+"/memory", other, 0) }},
		{"state for the group", "state can be written by others (mode 460)", func(t *testing.T, d string) error { return os.Chmod(d+"/state", 0o460) }},
		{"memory for all", "memory can be written by others (mode 402)", func(t *testing.T, d string) error { return os.Chmod(d+"/memory", 0o402) }},
		{"memory elsewhere", "memory: path escapes from parent", func(t *testing.T, d string) error {
			elsewhere := filepath.Join(t.TempDir(), "m")
			if err := os.Rename(d+"/memory", elsewhere); err != nil {
				return err
			}
			return os.Symlink(elsewhere, d+"/memory")
		}},
		{"manifest elsewhere", "manifest.json: path escapes from parent", func(t *testing.T, d string) error {
			replace(t, d+"/manifest.json", func() error { return os.Symlink("/etc/passwd", d+"/manifest.json") })
			return nil
		}},
		{"state is a pipe", "state is no regular file", func(t *testing.T, d string) error {
			replace(t, d+"/state", func() error { return unix.Mkfifo(d+"/state", 0o400) })
			return nil
		}},
		{"the store for the group", "templates can be written by others (mode 770)", func(t *testing.T, d string) error { return os.Chmod(filepath.Dir(d), 0o770) }},
		{"the store of another", "templates belongs to user 4242", func(t *testing.T, d string) error { return os.Chown(filepath.Dir(d), other, 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			write(t, s, "x")
			if err := c.harm(t, filepath.Join(s.root, "x")); err != nil {
				t.Fatal(err)
			}
			_, err := s.Open("x")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
