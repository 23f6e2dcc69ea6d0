package rootfs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// makeTree fills a directory with one of everything that a root file system
// can hold. Device nodes and foreign owners need root, as a real one does.
func makeTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, os.MkdirAll(filepath.Join(dir, "etc"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "dev"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "private"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "etc/plain"), []byte("content\n"), 0o640))
	must(t, os.Chown(filepath.Join(dir, "etc/plain"), 1234, 5678))
	must(t, os.Link(filepath.Join(dir, "etc/plain"), filepath.Join(dir, "etc/hard")))
	must(t, os.Symlink("plain", filepath.Join(dir, "etc/soft")))
	must(t, os.WriteFile(filepath.Join(dir, "etc/setuid"), nil, 0o755))
	must(t, unix.Chmod(filepath.Join(dir, "etc/setuid"), 0o4755))
	must(t, unix.Setxattr(filepath.Join(dir, "etc/setuid"), "user.note", []byte("kept"), 0))
	must(t, unix.Mknod(filepath.Join(dir, "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Chmod(filepath.Join(dir, "dev/null"), 0o666))
	must(t, unix.Mknod(filepath.Join(dir, "dev/pipe"), unix.S_IFIFO|0o600, 0))
	hole, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	_, err = hole.WriteAt([]byte("end"), 900<<20)
	must(t, err)
	must(t, hole.Close())
	must(t, os.Chmod(dir, 0o700)) // as mktemp -d makes it
	must(t, os.WriteFile(filepath.Join(dir, "big"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16), 0o644))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PATH="+toolPath(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestFromDirKeepsEverything(t *testing.T) {
	dir := makeTree(t)
	image := filepath.Join(t.TempDir(), "root.ext4")
	var steps []Step
	must(t, Create(t.Context(), Options{Output: image, FromDir: dir}, func(e Event) {
		if len(steps) == 0 || steps[len(steps)-1] != e.Step {
			steps = append(steps, e.Step)
		}
	}))
	if want := []Step{StepMeasure, StepWrite, StepDone}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	tool(t, "e2fsck", "-fn", image)

	debugfs := func(request string) string { return tool(t, "debugfs", "-R", request, image) }
	for _, c := range []struct{ request, want string }{
		{"stat /etc/plain", `Mode:\s+0640[\s\S]*User:\s+1234\s+Group:\s+5678[\s\S]*Links: 2`},
		{"cat /etc/plain", `(?m)^content$`},
		{"cat /etc/hard", `(?m)^content$`},
		{"stat /etc/soft", `Type: symlink[\s\S]*Fast link dest: "plain"`},
		{"stat /etc/setuid", `Mode:\s+04755[\s\S]*user\.note \(4\)`},
		{"stat /private", `Type: directory\s+Mode:\s+0700`},
		{"stat /dev/null", `Type: character special\s+Mode:\s+0666[\s\S]*01:03`},
		{"stat /dev/pipe", `Type: FIFO\s+Mode:\s+0600`},
		{"stat /sparse", `Size: 943718403\n[\s\S]*Blockcount: (8|16)\n`},
		{"stat /", `Type: directory\s+Mode:\s+0755[\s\S]*User:\s+0\s+Group:\s+0`},
		{"stats", `Filesystem features:.*has_journal`},
		{"stats", `Reserved block count:\s+0\n`},
	} {
		if got := debugfs(c.request); !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%s: no match for %s in\n%s", c.request, c.want, got)
		}
	}
	dump := filepath.Join(t.TempDir(), "big")
	debugfs("dump /big " + dump)
	want, _ := os.ReadFile(filepath.Join(dir, "big"))
	if got, err := os.ReadFile(dump); err != nil || !bytes.Equal(got, want) {
		t.Errorf("big file differs: %v", err)
	}

	var st unix.Stat_t
	must(t, unix.Stat(image, &st))
	if st.Mode&0o7777 != 0o600 {
		t.Errorf("image has mode %o: it may hold secrets", st.Mode&0o7777)
	}
	if st.Size < freeBytes || st.Blocks*512 > 64<<20 {
		t.Errorf("image of %d MiB takes %d MiB: want free space, and sparse", st.Size>>20, st.Blocks>>11)
	}
	onlyFile(t, image)
}

// onlyFile fails when the directory of image holds anything else.
func onlyFile(t *testing.T, image string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(image))
	must(t, err)
	for _, e := range entries {
		if e.Name() != filepath.Base(image) {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func TestManySmallFilesGetInodes(t *testing.T) {
	dir := t.TempDir()
	for i := range 3000 {
		must(t, os.Symlink("x", filepath.Join(dir, "link"+strconv.Itoa(i))))
	}
	image := filepath.Join(t.TempDir(), "root.ext4")
	// 32 MiB have 2048 inodes by mke2fs's own count.
	must(t, Create(t.Context(), Options{Output: image, FromDir: dir, SizeBytes: 32 << 20}, nil))
	tool(t, "e2fsck", "-fn", image)
}

func TestExistingTarget(t *testing.T) {
	image := filepath.Join(t.TempDir(), "root.ext4")
	must(t, os.WriteFile(image, []byte("precious"), 0o644))
	err := Create(t.Context(), Options{Output: image, FromDir: t.TempDir(), SizeBytes: 32 << 20}, nil)
	if !errors.Is(err, fs.ErrExist) {
		t.Fatalf("error %v, want that the target exists", err)
	}
	if b, _ := os.ReadFile(image); string(b) != "precious" {
		t.Fatal("the existing target was changed")
	}
	must(t, Create(t.Context(), Options{Output: image, FromDir: t.TempDir(), SizeBytes: 32 << 20, Replace: true}, nil))
	tool(t, "e2fsck", "-fn", image)
	onlyFile(t, image)
}

// A target that appears while the image is made is not overwritten either.
func TestTargetTakenMeanwhile(t *testing.T) {
	image := filepath.Join(t.TempDir(), "root.ext4")
	err := Create(t.Context(), Options{Output: image, FromDir: t.TempDir(), SizeBytes: 32 << 20}, func(e Event) {
		if e.Step == StepWrite {
			_ = os.WriteFile(image, []byte("precious"), 0o644)
		}
	})
	if !errors.Is(err, fs.ErrExist) {
		t.Fatalf("error %v, want that the target exists", err)
	}
	if b, _ := os.ReadFile(image); string(b) != "precious" {
		t.Fatal("the other target was changed")
	}
	onlyFile(t, image)
}

func TestFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "big"), bytes.Repeat([]byte{1}, 20<<20), 0o644))
	// The content fits by its bytes alone; the journal takes the room.
	for _, size := range []int64{17 << 20, 22 << 20} {
		image := filepath.Join(t.TempDir(), "root.ext4")
		err := Create(t.Context(), Options{Output: image, FromDir: dir, SizeBytes: size}, nil)
		if err == nil {
			t.Fatalf("20 MiB went into %d MiB", size>>20)
		}
		if _, serr := os.Lstat(image); !errors.Is(serr, fs.ErrNotExist) {
			t.Errorf("a failed build left %s", image)
		}
		onlyFile(t, image)
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	for _, at := range []Step{StepMeasure, StepWrite} {
		image := filepath.Join(t.TempDir(), "root.ext4")
		ctx, cancel := context.WithCancel(t.Context())
		err := Create(ctx, Options{Output: image, FromDir: makeTree(t)}, func(e Event) {
			if e.Step == at {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %s: error %v", at, err)
		}
		onlyFile(t, image)
		if _, serr := os.Lstat(image); serr == nil {
			t.Errorf("cancelled at %s: the image is there", at)
		}
	}
}

func TestMountInsideRefused(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "proc")
	must(t, os.Mkdir(sub, 0o755))
	must(t, unix.Mount("tmpfs", sub, "tmpfs", 0, ""))
	defer unix.Unmount(sub, 0)
	err := Create(t.Context(), Options{Output: filepath.Join(t.TempDir(), "i"), FromDir: dir}, nil)
	if err == nil || !strings.Contains(err.Error(), "unmount it") {
		t.Fatalf("error %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	out := filepath.Join(t.TempDir(), "o")
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{FromDir: dir}, "-o FILE"},
		{Options{Output: out}, "either --from-dir"},
		{Options{Output: out, FromDir: dir, Distro: "debian"}, "either --from-dir"},
		{Options{Output: out, FromDir: dir, Include: []string{"vim"}}, "go with --distro"},
		{Options{Output: out, FromDir: dir, SizeBytes: 1}, "too small"},
		{Options{Output: out, FromDir: dir, SizeBytes: -1}, "too small"},
		{Options{Output: out, FromDir: dir + "/missing"}, "no such file"},
		{Options{Output: dir + "/missing/o", FromDir: dir}, "no such file"},
		{Options{Output: dir, FromDir: t.TempDir()}, "not a regular file"},
		{Options{Output: filepath.Join(dir, "o"), FromDir: dir}, "inside the directory"},
		{Options{Output: filepath.Join(link, "o"), FromDir: dir}, "inside the directory"},
		{Options{Output: filepath.Join(dir, "o"), FromDir: link}, "inside the directory"},
		{Options{Output: out, Distro: "plan9"}, "not known"},
		{Options{Output: out, Distro: "debian", Suite: "--help"}, "release name"},
		{Options{Output: out, Distro: "debian", Mirror: "ftp://x"}, "not an http"},
		{Options{Output: out, Distro: "debian", Mirror: "http://x/ -v"}, "not an http"},
		{Options{Output: out, Distro: "debian", Include: []string{"a b"}}, "package name"},
		{Options{Output: out, Distro: "debian", Include: []string{"-x"}}, "package name"},
	} {
		err := Create(t.Context(), c.o, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.o, err, c.want)
		}
	}
}

func TestMissingToolsNamePackages(t *testing.T) {
	tools := t.TempDir()
	t.Setenv("PATH", tools)
	if haveTool("no-such-tool") {
		t.Error("found a tool that is not there")
	}
	must(t, os.WriteFile(filepath.Join(tools, "no-such-tool"), nil, 0o644))
	if haveTool("no-such-tool") {
		t.Error("took a file that cannot run for a tool")
	}
	must(t, os.Chmod(filepath.Join(tools, "no-such-tool"), 0o755))
	if !haveTool("no-such-tool") {
		t.Error("did not find a tool in PATH")
	}
	err := missingTools([]requirement{{"no-mke2fs", "e2fsprogs"}, {"/no/keyring", "debian-archive-keyring"}})
	if err == nil || !strings.Contains(err.Error(), "apt-get install e2fsprogs debian-archive-keyring") {
		t.Errorf("error %v", err)
	}
}

func TestScratch(t *testing.T) {
	target := filepath.Join(t.TempDir(), "root.ext4")
	first, err := newScratch(target)
	must(t, err)
	if _, err := newScratch(target); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("second build of one target: error %v", err)
	}
	// A killed build: its lock is gone and its files are not.
	must(t, os.WriteFile(first.path("image"), []byte("half"), 0o600))
	must(t, first.lock.Close())
	again, err := newScratch(target)
	must(t, err)
	if entries, _ := os.ReadDir(again.dir); len(entries) != 0 {
		t.Errorf("stale content stayed: %v", entries)
	}
	must(t, again.remove())
	onlyFile(t, target)
}

func TestRunContainedDiesWhole(t *testing.T) {
	// The tool mounts something and leaves a child that holds a lock; after a
	// cancel neither is there.
	dir := t.TempDir()
	lock := filepath.Join(dir, "lock")
	must(t, os.WriteFile(lock, nil, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	script := "mount -t tmpfs tmpfs " + dir + "/m && touch " + dir + "/m/x && (exec 9<" + lock + "; flock 9; echo ready; setsid sleep 100) & wait"
	must(t, os.Mkdir(filepath.Join(dir, "m"), 0o755))
	err := run(ctx, command{name: "sh", args: []string{"-c", script}, contained: true, line: func(l string) {
		if l == "ready" {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the cancel", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "m/x")); err == nil {
		t.Error("the tool's mount is visible outside its name space")
	}
	f, err := os.Open(lock)
	must(t, err)
	defer f.Close()
	// PID 1 of the name space was reaped, so the kernel has killed the rest.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("a descendant outlived the tool: %v", err)
	}
}

func TestRunReportsTail(t *testing.T) {
	var lines []string
	err := run(t.Context(), command{name: "sh", args: []string{"-c", "printf 'one\\rtwo\\nlast words\\n' >&2; exit 3"},
		line: func(l string) { lines = append(lines, l) }})
	if err == nil || !strings.Contains(err.Error(), "last words") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
	if strings.Join(lines, "|") != "one|two|last words" {
		t.Errorf("lines %q", lines)
	}
}
