package e2e

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// badFiles writes the files that are given for kernels and images.
func badFiles(t *testing.T) func(string) string {
	t.Helper()
	dir := t.TempDir()
	good, err := os.ReadFile(kernel("6.12"))
	if err != nil {
		t.Fatal(err)
	}
	var junk bytes.Buffer
	z := gzip.NewWriter(&junk)
	z.Write(bytes.Repeat([]byte("junk"), 100000))
	z.Close()
	ext4 := make([]byte, 4<<20)
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(ext4[:64<<10], 0); err != nil {
		t.Fatal(err)
	}
	torn := bytes.Clone(ext4)
	copy(torn[1024:], make([]byte, 1024)) // the superblock
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte("this is no kernel\n"), "junk.gz": junk.Bytes(),
		"header": good[:1000], "truncated": good[:len(good)/2],
		"lone":     bytes.Replace(good, []byte("6.12."), []byte("6.99."), 1), // whose modules are nowhere
		"zero.img": make([]byte, 1<<20), "short.ext4": ext4, "torn.ext4": torn,
		"image.qcow2": append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 1<<20)...),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) string { return filepath.Join(dir, name) }
}

// Each is answered with one line that says what is wrong and what to do, and leaves nothing behind.
func TestBadInput(t *testing.T) {
	h := newHost(t)
	bad := badFiles(t)
	k := func(name string) []string { return []string{"--kernel", bad(name), "--rootfs", image, "--overlay"} }
	root := func(img string, more ...string) []string {
		return append([]string{"--kernel", kernel("6.12"), "--rootfs", img}, more...)
	}
	for _, test := range []struct {
		name   string
		args   []string
		status int
		says   []string
	}{
		{"no kernel named", nil, 2, []string{`"kernel"`}},
		{"kernel alone", []string{"--kernel", kernel("6.12")}, 2, []string{"--rootfs", "--initrd"}},
		{"kernel missing", k("nowhere"), 1, []string{bad("nowhere"), "no such file"}},
		{"kernel empty", k("empty"), 1, []string{bad("empty"), "empty"}},
		{"kernel is text", k("text"), 1, []string{bad("text"), "not a kernel"}},
		{"kernel is gzip", k("junk.gz"), 1, []string{bad("junk.gz"), "gzip"}},
		{"kernel cut in its header", k("header"), 1, []string{bad("header"), "truncated"}},
		{"kernel cut in half", k("truncated"), 1, []string{bad("truncated"), "truncated"}},
		{"kernel is a directory", []string{"--kernel", "/tmp", "--rootfs", image}, 1, []string{"not a regular file"}},
		{"no modules", k("lone"), 1, []string{"modules", "install", "--modules"}},
		{"initrd missing", []string{"--kernel", kernel("6.12"), "--initrd", bad("nowhere")}, 1, []string{bad("nowhere"), "no such file"}},
		{"initrd empty", []string{"--kernel", kernel("6.12"), "--initrd", bad("empty")}, 1, []string{bad("empty"), "empty"}},
		{"initrd and rootfs", root(image, "--initrd", image), 1, []string{"--initrd", "--rootfs"}},
		{"image missing", root(bad("nowhere"), "--overlay"), 1, []string{bad("nowhere"), "does not exist", "clone rootfs create"}},
		{"image empty", root(bad("empty"), "--overlay"), 1, []string{bad("empty"), "empty"}},
		{"image is qcow2", root(bad("image.qcow2"), "--overlay"), 1, []string{"qcow2", "qemu-img convert"}},
		{"image option", root(image + ",rw"), 1, []string{",ro"}},
		{"overlay without rootfs", []string{"--kernel", kernel("6.12"), "--overlay"}, 2, []string{"--rootfs"}},
		{"overlay on disk", root(image, "--overlay=/tmp/x"), 2, []string{"--overlay=tmpfs"}},
		{"too little memory", root(image, "--mem-mb", "1"), 1, []string{"--mem-mb 1", "64"}},
		{"too much memory", root(image, "--mem-mb", "99999999"), 1, []string{"--mem-mb 99999999"}},
		{"negative memory", root(image, "--mem-mb", "-5"), 2, []string{"--mem-mb"}},
		{"no vCPUs", root(image, "--vcpus", "0"), 1, []string{"--vcpus 0", "16"}},
		{"17 vCPUs", root(image, "--vcpus", "17"), 1, []string{"--vcpus 17", "16"}},
		{"99 vCPUs", root(image, "--vcpus", "99"), 1, []string{"--vcpus 99", "16"}},
		{"long command line", root(image, "--overlay", "--cmdline", strings.Repeat("x", 5000)), 1, []string{"command line"}},
		{"numeric name", root(image, "--overlay", "--name", "123"), 1, []string{`"123"`, "process id"}},
		{"name with a slash", root(image, "--overlay", "--name", "../x"), 1, []string{"invalid VM name"}},
		{"disk missing", root(image, "--overlay", "--block", bad("nowhere")), 1, []string{bad("nowhere"), "truncate -s"}},
		{"disk twice", root(image, "--overlay", "--block", bad("zero.img"), "--block", bad("zero.img")), 1, []string{bad("zero.img"), "in use"}},
		{"unknown flag", root(image, "--frobnicate"), 2, []string{"--frobnicate"}},
		{"an argument", root(image, "extra"), 2, []string{"extra"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, detach := range []bool{false, true} {
				args := append([]string{"run"}, test.args...)
				if detach {
					args = append(args, "--detach")
				}
				h.complains(t, test.status, test.says, args...)
			}
		})
	}
	for _, args := range [][]string{{"frobnicate"}, {"fork"}, {"snapshot"}, {"template", "rm"}, {"destroy", "--all", "x"}, {"list", "x"}, {"rootfs", "create"}} {
		h.complains(t, 2, nil, args...)
	}
	for _, args := range [][]string{
		{"fork", "--template", "none"}, {"template", "verify", "none"}, {"template", "rm", "none"}, {"snapshot", "--name", "x"},
		{"status", "none"}, {"attach"}, {"destroy"}, {"rootfs", "create", "-o", bad("new")}, {"rootfs", "create", "--from-dir", bad("nowhere"), "-o", bad("new")},
	} {
		h.complains(t, 1, nil, args...)
	}
}

// An image whose content is wrong is found out in the guest: that ends, and says why on its console.
func TestBadRootFileSystem(t *testing.T) {
	h := newHost(t)
	bad := badFiles(t)
	for _, test := range []struct{ img, says string }{
		{"zero.img", "no file system"}, {"torn.ext4", "no file system"}, {"short.ext4", "cannot mount"},
	} {
		r := h.run(limit, nil, "run", "--kernel", kernel("6.12"), "--rootfs", bad(test.img), "--overlay", "--mem-mb", "128")
		if r.status != 3 || !strings.Contains(r.out, "clone-init: ") || !strings.Contains(r.out, test.says) {
			t.Errorf("%s: status %d, %s%s", test.img, r.status, r.out, r.err)
		}
	}
	// Nobody sees the console of a detached one, so the message quotes it.
	h.complains(t, 3, []string{"no file system"}, "run", "--kernel", kernel("6.12"), "--rootfs", bad("zero.img"), "--overlay", "--mem-mb", "128", "--detach")
}

// complains checks that a command fails with one line that has all of says, and leaves nothing.
func (h *host) complains(t *testing.T, status int, says []string, args ...string) {
	t.Helper()
	r := h.run(time.Minute, nil, args...)
	line := strings.TrimSuffix(r.err, "\n")
	if r.status != status || r.out != "" || !strings.HasPrefix(line, "clone: ") || strings.Contains(line, "\n") {
		t.Errorf("clone %s: status %d, want %d, and one line\n%s%s", strings.Join(args, " "), r.status, status, r.out, r.err)
	}
	for _, s := range says {
		if !strings.Contains(line, s) {
			t.Errorf("clone %s does not say %q: %s", strings.Join(args, " "), s, line)
		}
	}
	h.nothingLeft(t)
}
