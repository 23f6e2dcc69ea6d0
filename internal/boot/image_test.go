package boot

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadImage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "vmlinuz")
	empty := filepath.Join(dir, "empty")
	huge := filepath.Join(dir, "huge")
	for name, content := range map[string]string{path: "a kernel", empty: "", huge: ""} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(huge, 4<<30); err != nil { // sparse
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("a kernel"))
	right := hex.EncodeToString(sum[:])
	wrong := strings.Repeat("0", 64)
	for _, want := range []string{"", right, strings.ToUpper(right)} {
		image, err := ReadImage(path, want)
		if err != nil || string(image.Bytes()) != "a kernel" || image.SHA256() != right {
			t.Errorf("sha256 %q: %v", want, err)
		}
	}
	for _, tc := range []struct{ path, sum, want string }{
		{path, wrong, "wanted sha256 " + wrong + ", found " + right},
		{path, "1234", "64 hexadecimal digits"},
		{path, "nonsense", "64 hexadecimal digits"},
		{filepath.Join(dir, "missing"), "", "no such file"},
		{empty, "", "is empty"},
		{huge, "", "4096 MiB"},
		{dir, "", "not a regular file"},
		{"/dev/zero", "", "not a regular file"},
	} {
		if _, err := ReadImage(tc.path, tc.sum); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %q, want %q in it", tc.path, err, tc.want)
		}
	}
}

func TestKernelVersion(t *testing.T) {
	evil := fakeBzImage()
	copy(evil[0x500:], "../../etc ")
	nowhere := fakeBzImage()
	nowhere[hdrKernelVersion], nowhere[hdrKernelVersion+1] = 0xff, 0xff
	silent := linuxELF()
	silent.content = "no banner, or Linux version %s"
	for _, tc := range []struct {
		name, want string
		data       []byte
	}{
		{"bzImage", "6.12.9+deb13-cloud-amd64", fakeBzImage()},
		{"ELF", "6.1.0-40-amd64", linuxELF().bytes()},
		{"a path for a version", "", evil},
		{"a version beyond the file", "", nowhere},
		{"ELF without a banner", "", silent.bytes()},
		{"no kernel", "", []byte("\x1f\x8b")},
		{"empty", "", nil},
	} {
		got, err := KernelVersion(img(tc.data))
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q, %v, want %q", tc.name, got, err, tc.want)
		}
	}
}

func FuzzKernelVersion(f *testing.F) {
	f.Add(fakeBzImage())
	f.Add(linuxELF().bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := KernelVersion(img(data))
		if err == nil && (v == "" || len(v) > maxVersion || filepath.Base(v) != v || v == "..") {
			t.Fatalf("version %q", v)
		}
	})
}
