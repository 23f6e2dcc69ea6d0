package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cavaliergopher/cpio"
)

// smallImage is a root file system with a shell, what a shell needs, and this program: it boots in a moment.
var smallImage = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(shared, "small")
	for _, d := range []string{"bin", "dev", "proc", "root", "run", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	files := map[string]string{"/bin/sh": "/bin/sh", "/proc/self/exe": "/" + guestProgram}
	libraries, err := exec.Command("ldd", "/bin/sh").Output()
	if err != nil {
		return "", err
	}
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			files[word] = word
		}
	}
	for from, to := range files {
		if err := copyFile(from, filepath.Join(dir, to), 0o755); err != nil {
			return "", err
		}
	}
	img := filepath.Join(shared, "small.ext4")
	out, err := exec.Command(cloneBin, "rootfs", "create", "--quiet", "--from-dir", dir, "-o", img, "--size-mb", "32").CombinedOutput()
	if err != nil {
		os.Stderr.Write(out)
	}
	return img, err
})

func copyFile(from, to string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, mode)
}

// small is the command line that boots the small image.
func small(t *testing.T, flags ...string) []string {
	t.Helper()
	img, err := smallImage()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"run", "--kernel", kernel("6.12"), "--rootfs", img, "--overlay", "--mem-mb", "96"}, flags...)
}

// bootSmall boots the small image and returns the VM's id.
func (h *host) bootSmall(t *testing.T, flags ...string) string {
	t.Helper()
	return h.ok(t, small(t, append(flags, "--detach")...)...)
}

// ownInitrd makes an initrd with nothing but this program as /init.
func ownInitrd(t *testing.T) string {
	t.Helper()
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "initrd")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := cpio.NewWriter(f)
	if err := w.WriteHeader(&cpio.Header{Name: initProgram, Mode: cpio.TypeReg | 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// standing is one Debian that runs as long as the tests do, for those that leave it as it is.
var standing = sync.OnceValue(func() (s struct {
	h  *host
	vm string
}) {
	s.h = &host{dir: filepath.Join(shared, "standing")}
	atExit = append(atExit, func() { s.h.run(limit, nil, "destroy", "--all", "--force") })
	r := s.h.run(limit, nil, "run", "--kernel", kernel("6.12"), "--rootfs", image, "--overlay", "--mem-mb", "384", "--name", "standing", "--detach")
	s.vm = strings.TrimSpace(r.out)
	if r.status != 0 {
		os.Stderr.WriteString(r.err)
	}
	return s
})

// standingVM returns a Debian whose start-up is over, on a host of its own where nothing else runs.
func standingVM(t *testing.T) (*host, string) {
	t.Helper()
	s := standing()
	if s.vm == "" {
		t.Fatal("the VM that many tests share could not be started")
	}
	s.h.awaitSystemd(t, s.vm)
	return s.h, s.vm
}

// installProgram puts this program into a running guest, as /run/guestprog.
func (h *host) installProgram(t *testing.T, vm string) {
	t.Helper()
	if h.run(limit, nil, "exec", "--vm-id", vm, "--", "test", "-x", "/run/guestprog").status == 0 {
		return
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	r := h.run(limit, program, "exec", "-i", "--vm-id", vm, "--", "sh", "-c", "cat > /run/guestprog && chmod +x /run/guestprog")
	if r.status != 0 {
		t.Fatalf("installing a program: %+v", r)
	}
}
