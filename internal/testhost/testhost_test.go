package testhost

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"clone/internal/testhost/inside"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func TestComplete(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "inner")
	link := filepath.Join(dir, "link")
	file := filepath.Join(dir, "file")
	if err := errors.Join(os.Mkdir(inner, 0o755), os.Symlink(inner, link), os.WriteFile(file, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	got, err := Config{Command: []string{"true"}, Dir: link, Writable: []string{inner, dir}}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if got.Dir != inner {
		t.Errorf("Dir %q, want %q: symbolic links must be resolved", got.Dir, inner)
	}
	if want := []string{dir, inner}; !slices.Equal(got.Writable, want) {
		t.Errorf("Writable %q, want %q: outer ones first, each once", got.Writable, want)
	}
	if got.MemoryMiB != DefaultMemoryMiB || got.Stdout == nil || got.Init == "" || got.CacheDir == "" {
		t.Errorf("defaults are missing: %+v", got)
	}

	for want, cfg := range map[string]Config{
		"no command":         {},
		"not KEY=VALUE":      {Command: []string{"true"}, Env: []string{"=x"}},
		"too little memory":  {Command: []string{"true"}, MemoryMiB: 64},
		"negative timeout":   {Command: []string{"true"}, Timeout: -time.Second},
		"no such file":       {Command: []string{"true"}, Writable: []string{dir + "/none"}},
		"is not a directory": {Command: []string{"true"}, Dir: file},
		"root directory":     {Command: []string{"true"}, Writable: []string{"/"}},
	} {
		if _, err := cfg.complete(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("complete(%+v): %v, want %q", cfg, err, want)
		}
	}
}

func TestPassedEnv(t *testing.T) {
	got := PassedEnv([]string{"PATH=/bin", "HOME=/root", "GOFLAGS=-v", "CLONE_CACHE=/c", "SECRET=1", "PATHS=no", "LANG=C"})
	want := []string{"PATH=/bin", "HOME=/root", "GOFLAGS=-v", "CLONE_CACHE=/c"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChoose(t *testing.T) {
	const (
		intel = "processor\t: 0\nflags\t\t: fpu vmx sse\n"
		amd   = "processor\t: 0\nflags\t\t: fpu svm sse\n"
		none  = "processor\t: 0\nflags\t\t: fpu svm_lock xvmx sse\nvmx flags\t: vnmi\n"
	)
	for _, test := range []struct {
		name, cpuinfo string
		kvm           error
		direct        bool
		reason        string
	}{
		{"Intel", intel, nil, true, "vmx"},
		{"AMD", amd, nil, true, "svm"},
		{"no device", amd, fs.ErrNotExist, false, "svm"},
		{"not permitted", intel, syscall.EACCES, false, "permission denied"},
		{"paravirtual", none, nil, false, "/dev/kvm opens, but"},
		{"nothing", none, fs.ErrNotExist, false, "neither vmx nor svm"},
		{"empty", "", nil, false, "neither vmx nor svm"},
	} {
		got := choose(test.cpuinfo, test.kvm)
		if got.Direct != test.direct || !strings.Contains(got.Reason, test.reason) {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

func TestQEMUArgs(t *testing.T) {
	args := qemuArgs(machine{memoryMiB: 2048, image: "/c/vmlinux", runDir: "/c/a,b/run/1", extra: []string{"-device", "nvme"}})
	has := func(option, value string) {
		t.Helper()
		for i := range len(args) - 1 {
			if args[i] == option && strings.Contains(args[i+1], value) {
				return
			}
		}
		t.Errorf("no %s with %q in %q", option, value, args)
	}
	has("-smp", "1")
	has("-m", "2048")
	has("-object", "size=2048M,share=on")
	has("-chardev", "path=/c/a,,b/run/1/fs.sock")
	has("-chardev", "socket,id=port,fd=3")
	has("-device", "name="+inside.PortName)
	has("-kernel", "/c/vmlinux")
	has("-append", " init=/c/a,b/run/1/"+inside.InitName)
	if tail := args[len(args)-2:]; !slices.Equal(tail, []string{"-device", "nvme"}) {
		t.Errorf("ends with %q, not with the caller's arguments", tail)
	}
}

func TestConsoleTail(t *testing.T) {
	got := consoleTail([]byte("one\r\n\x1b[2Jtwo\r\nthree\x00\n\n"), 2)
	if want := "[2Jtwo\nthree"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := consoleTail(nil, 5); got != "" {
		t.Errorf("empty log: %q", got)
	}
}

func TestNewestPackage(t *testing.T) {
	names := []string{
		"linux-image-6.12.9+deb12-cloud-amd64", "linux-image-6.12.107+deb12-cloud-amd64-unsigned",
		"linux-image-6.12.107+deb12-cloud-amd64", "linux-image-6.12.107+deb12-amd64", "linux-image-6.12-cloud-amd64",
		"linux-image-6.12.200+deb12-cloud-amd64-dbg", "linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64",
	}
	for version, want := range map[string]string{
		"6.12": "linux-image-6.12.107+deb12-cloud-amd64",
		"6.1":  "linux-image-6.1.0-50-cloud-amd64",
	} {
		match, err := kernelPackagePattern(version)
		if err != nil {
			t.Fatal(err)
		}
		if got := newestPackage(names, match); got != want {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
		slices.Reverse(names)
		if got := newestPackage(names, match); got != want {
			t.Errorf("%s, reversed: %q, want %q", version, got, want)
		}
	}
	if _, err := kernelPackagePattern("6."); err == nil {
		t.Error("version 6. was accepted")
	}
	if match, _ := kernelPackagePattern("6.1"); newestPackage(nil, match) != "" {
		t.Error("found a package in an empty list")
	}
}

func TestLoadOrder(t *testing.T) {
	const dep = `kernel/virt/irqbypass.ko.xz:
kernel/kvm/kvm.ko.xz: kernel/virt/irqbypass.ko.xz
kernel/kvm/kvm-amd.ko.xz: kernel/kvm/kvm.ko.xz kernel/virt/irqbypass.ko.xz
kernel/net/tun.ko.xz: kernel/virt/irqbypass.ko.xz
`
	got, err := loadOrder(dep, []string{"kvm-amd", "tun"})
	want := []string{"kernel/virt/irqbypass.ko.xz", "kernel/kvm/kvm.ko.xz", "kernel/kvm/kvm-amd.ko.xz", "kernel/net/tun.ko.xz"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := loadOrder(dep, []string{"overlay"}); err == nil {
		t.Error("an unknown module was accepted")
	}
}

// bzImage is the smallest that unpackImage accepts, around a packed payload.
func bzImage(t testing.TB, vmlinux []byte) []byte {
	t.Helper()
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := packer.EncodeAll(vmlinux, nil)
	payload = binary.LittleEndian.AppendUint32(payload, uint32(len(vmlinux)))
	image := make([]byte, 1024, 1024+16+len(payload))
	image[offSetupSects] = 1
	copy(image[offMagic:], "HdrS")
	binary.LittleEndian.PutUint32(image[offPayloadOffset:], 16)
	binary.LittleEndian.PutUint32(image[offPayloadLength:], uint32(len(payload)))
	return append(append(image, make([]byte, 16)...), payload...)
}

func TestUnpackImage(t *testing.T) {
	const vmlinux = "\x7fELF and the rest"
	good := bzImage(t, []byte(vmlinux))
	if got, err := unpackImage(good); string(got) != vmlinux || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	wrongSize := slices.Clone(good)
	wrongSize[len(wrongSize)-4]++
	for want, image := range map[string][]byte{
		"no bzImage":  []byte("\x7fELF"),
		"cut off":     good[:len(good)-1],
		"unpacks to ": wrongSize,
	} {
		if _, err := unpackImage(image); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzUnpackImage(f *testing.F) {
	good := bzImage(f, []byte("\x7fELF"))
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, image []byte) { unpackImage(image) })
}

func TestWithoutSignature(t *testing.T) {
	for in, want := range map[string]string{
		"\x7fELF" + signatureMark:        "\x7fELF",
		"\x7fELF":                        "\x7fELF",
		signatureMark + "\x7fELF behind": signatureMark + "\x7fELF behind",
	} {
		if got := string(withoutSignature([]byte(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// TestLockWaits has a second taker wait until the first gives up, and one that is
// told to stop waiting.
func TestLockWaits(t *testing.T) {
	dir := t.TempDir()
	first, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockInterval)
	defer cancel()
	if _, err := lock(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock: %v", err)
	}
	second := make(chan error)
	go func() {
		f, err := lock(t.Context(), dir)
		if err == nil {
			err = f.Close()
		}
		second <- err
	}()
	first.Close()
	if err := <-second; err != nil {
		t.Errorf("a lock given up: %v", err)
	}
	if _, err := lock(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

// TestRunDirs holds one directory and gives up another, as a killed owner does.
func TestRunDirs(t *testing.T) {
	cache := t.TempDir()
	held, heldLock, err := newRunDir(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	defer heldLock.Close()
	abandoned, lock, err := newRunDir(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	third, lock, err := newRunDir(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if !exists(held) || !exists(third) {
		t.Error("a directory in use was removed")
	}
	if exists(abandoned) {
		t.Error("an abandoned directory was not removed")
	}
}

func TestHostError(t *testing.T) {
	err := error(&HostError{Err: fs.ErrNotExist, Console: "Kernel panic"})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("%v", err)
	}
	if got := (&HostError{Err: errors.New("x")}).Error(); got != "test host: x" {
		t.Errorf("%q", got)
	}
}

func TestConverse(t *testing.T) {
	const silence = 200 * time.Millisecond
	for name, test := range map[string]struct {
		host func(*inside.FrameWriter)
		exit int
		want string // of the error
	}{
		"a slow host": {func(w *inside.FrameWriter) {
			go inside.SendAlive(w, silence/10)
			time.Sleep(2 * silence)
			w.Write(inside.Stdout, []byte("out"))
			w.Write(inside.Result, []byte(`{"Exit":3}`))
		}, 3, ""},
		"a host that stands still": {func(w *inside.FrameWriter) { w.Write(inside.Stdout, []byte("out")) }, 0, "no sign of life for 200ms"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, host := net.Pipe()
			defer host.Close()
			defer ours.Close()
			go io.Copy(io.Discard, host)
			go test.host(inside.NewFrameWriter(host))
			var out strings.Builder
			exit, err := converse(ours, Config{Stdout: &out}, silence)
			if exit != test.exit || out.String() != "out" || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%d, %v, output %q; want %d, %q", exit, err, out.String(), test.exit, test.want)
			}
		})
	}
}

// A host may sleep until something comes from outside.
func TestConverseWakesTheHost(t *testing.T) {
	ours, host := net.Pipe()
	defer host.Close()
	defer ours.Close()
	go converse(ours, Config{}, time.Minute)
	if kind, payload, err := inside.ReadFrame(host); kind != inside.Alive || len(payload) > 0 || err != nil {
		t.Errorf("kind %d, %q, %v came", kind, payload, err)
	}
}

func TestHeadBuffer(t *testing.T) {
	var b headBuffer
	for range 3 {
		if n, err := b.Write(make([]byte, 600)); n != 600 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if b.Len() != 1024 {
		t.Errorf("kept %d bytes, want 1024", b.Len())
	}
}

func TestFetchKernelFromCache(t *testing.T) {
	cache := t.TempDir()
	dir := filepath.Join(cache, "kernels", "6.12")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "vmlinuz"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if got, err := FetchKernel(t.Context(), cache, "6.12", nil); got != dir || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := FetchKernel(t.Context(), cache, "5.10", nil); err == nil {
		t.Error("an unknown version was accepted")
	}
}

func TestArrangeKernelRefusesStrangePackage(t *testing.T) {
	unpacked := t.TempDir()
	if err := arrangeKernel(t.Context(), unpacked, filepath.Join(t.TempDir(), "tree")); err == nil || !strings.Contains(err.Error(), "vmlinuz-*") {
		t.Errorf("%v", err)
	}
}

// TestRunDirect runs commands on this machine, as where it has hardware KVM.
func TestRunDirect(t *testing.T) {
	t.Setenv("CLONE_PASSED", "passed")
	t.Setenv("KEPT_BACK", "kept back")
	var stdout, stderr strings.Builder
	cfg, err := Config{
		Command: []string{"sh", "-c", `pwd; echo "$CLONE_PASSED $KEPT_BACK$OWN"; cat; echo oops >&2; exit 9`},
		Dir:     t.TempDir(), Env: []string{"OWN=own"},
		Stdin: strings.NewReader("input\n"), Stdout: &stdout, Stderr: &stderr,
	}.complete()
	if err != nil {
		t.Fatal(err)
	}
	exit, err := runDirect(t.Context(), cfg)
	if exit != 9 || err != nil {
		t.Errorf("exit %d, %v", exit, err)
	}
	if want := cfg.Dir + "\npassed own\ninput\n"; stdout.String() != want {
		t.Errorf("stdout %q, want %q", stdout.String(), want)
	}
	if stderr.String() != "oops\n" {
		t.Errorf("stderr %q", stderr.String())
	}

	cfg.Command = []string{"sh", "-c", "kill -TERM $$"}
	if exit, err := runDirect(t.Context(), cfg); exit != 128+int(syscall.SIGTERM) || err != nil {
		t.Errorf("ended by a signal: exit %d, %v", exit, err)
	}
	cfg.Command = []string{"no-such-program"}
	if _, err := runDirect(t.Context(), cfg); err == nil {
		t.Error("a missing program gave no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Command = []string{"sh", "-c", "echo started; sleep 1000"}
	cfg.Stdout = writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if _, err := runDirect(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
