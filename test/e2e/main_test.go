package e2e

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// seconds is how long tests take in an emulated host, where it is long. All others take a few.
var seconds = map[string]int{
	"TestTwentyRoundsUnderLoad": 660, "TestRootIsWritten": 280, "TestForksDoNotSeeEachOther": 170,
	"TestForksAreLiveAndSeparate": 160, "TestMemoryAboveTheHole": 140, "TestKernel61ForksAndAnswers": 110,
	"TestPowerButton": 100, "TestGiveBack": 100, "TestLimitlessForksAreAccounted": 90, "TestKilledWhileSnapshotting": 90,
	"TestExecStatus": 90, "TestEnds": 90, "TestDisks": 90, "TestLimitOfMemory": 80, "TestKernel61SeesItsFlags": 80,
	"TestVmlinuxBoots": 70, "TestLayersOfABootedVM": 70, "TestChangedDiskIsRefused": 70, "TestOneBaseForMany": 60,
	"TestLayers": 60, "TestKilledAtAnyMoment": 60, "TestBadRootFileSystem": 60, "TestSnapshotLeavesTheSourceAlone": 50,
	"TestSnapshotAtTheMemoryLimit": 50, "TestSeveralVMs": 50, "TestAttach": 50,
}

const fewSeconds = 15

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
		if strings.HasPrefix(name, "Test") {
			tests = append(tests, name)
		}
	}
	takes := func(name string) int { return cmp.Or(seconds[name], fewSeconds) }
	slices.SortStableFunc(tests, func(a, b string) int { return takes(b) - takes(a) })
	var mine []string
	loads := make([]int, n) // of the parts, all of which come to the same result
	for _, name := range tests {
		least := slices.Index(loads, slices.Min(loads))
		loads[least] += takes(name)
		if least == i-1 {
			mine = append(mine, name)
		}
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
