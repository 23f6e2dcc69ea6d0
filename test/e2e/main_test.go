package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// heavy are the tests that take longest, dealt out first so that the shards end at about the same time.
var heavy = []string{
	"TestTwentyRoundsUnderLoad", "TestForksAreLiveAndSeparate", "TestMemoryAboveTheHole", "TestLimitOfMemory", "TestEnds", "TestKilledAtAnyMoment",
	"TestAttach", "TestExecPrintsMuch", "TestBadRootFileSystem", "TestRootIsWritten", "TestMeasuredBoot", "TestKernel61SeesItsFlags", "TestDisks",
}

func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); isGuest(name) {
		os.Exit(guestMain(name, os.Args[1:]))
	}
	flag.Parse()
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	if err := chooseShard(os.Getenv("CLONE_E2E_SHARD")); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	status := m.Run()
	tearDown()
	os.Exit(status)
}

// chooseShard narrows -test.run to the i-th of n parts of the tests.
func chooseShard(shard string) error {
	if shard == "" {
		return nil
	}
	var i, n int
	if _, err := fmt.Sscanf(shard, "%d/%d", &i, &n); err != nil || i < 1 || i > n {
		return fmt.Errorf("CLONE_E2E_SHARD=%s is not i/n", shard)
	}
	list := exec.Command("/proc/self/exe", "-test.list", ".")
	list.Env = append(os.Environ(), "CLONE_E2E_SHARD=") // it lists all, and starts no further one
	out, err := list.Output()
	if err != nil {
		return err
	}
	var tests []string
	for _, name := range strings.Fields(string(out)) {
		if strings.HasPrefix(name, "Test") && !slices.Contains(heavy, name) {
			tests = append(tests, name)
		}
	}
	tests = append(slices.Clone(heavy), tests...)
	var mine []string
	for at := i - 1; at < len(tests); at += n {
		mine = append(mine, tests[at])
	}
	return flag.Set("test.run", "^("+strings.Join(mine, "|")+")$")
}

// What the tests work with, absolute.
var (
	cloneBin string // the program under test
	image    string // Debian root file system
	shared   string // directory of this run, for what several tests use
)

func kernel(version string) string { return filepath.Join(cache(), "kernels", version, "vmlinuz") }

func cache() string {
	if dir := os.Getenv("CLONE_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(os.Getenv("HOME"), ".cache", "clone")
}

func setUp() (err error) {
	if slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.list") }) {
		return nil
	}
	if cloneBin, err = filepath.Abs("bin/clone"); err != nil {
		return err
	}
	if _, err := os.Stat(cloneBin); err != nil {
		cloneBin, _ = filepath.Abs("../../bin/clone")
	}
	image = filepath.Join(cache(), "debian.ext4")
	for _, path := range []string{cloneBin, image, kernel("6.12"), kernel("6.1"), "/dev/kvm"} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w: `make test` prepares it", err)
		}
	}
	// Templates are larger than a tmpfs likes to be; TMPDIR says where there is room.
	shared, err = os.MkdirTemp("", "clone-e2e-")
	return err
}

func tearDown() {
	for _, f := range atExit {
		f()
	}
	os.RemoveAll(shared)
}

// atExit is what fixtures that outlive a test need done.
var atExit []func()
