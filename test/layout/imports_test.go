package layout

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// importRules is who may import what. A pattern "p/..." is p and everything below it.
type importRules struct {
	// may is what each package below internal and cmd imports of this module. A package that is not in it, and an entry
	// that is no package, are faults. Tests may import more.
	may map[string][]string
	// forbidden are edges that must not be, whatever may says, with the reason.
	forbidden []forbiddenEdge
	// modules is which packages use which module of others. Those that only tests use have no package here.
	modules map[string][]string
	// programs is what must not be linked into a program, directly or not.
	programs []programRule
}

type forbiddenEdge struct {
	from, to []string
	except   []string // packages or files that have the edge all the same
	because  string
}

type programRule struct {
	program string
	without []string
	because string
}

// values are plain: they name things and check them.
var values = []string{"internal/config", "internal/agentproto", "internal/x86", "internal/acpi", "internal/initrd/bootconf", "internal/timing"}

// devices are the models of virtio devices, one package each.
var devices = []string{"internal/virtio/blk", "internal/virtio/rng", "internal/virtio/vsock"}

// device is what the model of a virtio device may import.
var device = []string{"internal/virtio", "internal/guestmem", "internal/eventfd"}

// ground is what everything stands on.
var ground = []string{"internal/cgroup", "internal/eventfd", "internal/guestmem", "internal/bus", "internal/disk", "internal/console"}

// guests are the programs that run inside a guest.
var guests = []string{"internal/guest/...", "cmd/clone-init", "cmd/clone-agent"}

var design = importRules{
	may: map[string][]string{
		"internal/config":          {},
		"internal/agentproto":      {},
		"internal/x86":             {},
		"internal/acpi":            {"internal/x86"},
		"internal/initrd/bootconf": {},
		"internal/timing":          {},

		"internal/cgroup":   {},
		"internal/eventfd":  {},
		"internal/kvm":      {"internal/eventfd"},
		"internal/guestmem": {},
		"internal/bus":      {},
		"internal/legacy":   {"internal/x86"},
		"internal/boot":     {"internal/x86"},

		"internal/virtio":            {"internal/eventfd", "internal/guestmem"},
		"internal/virtio/mmio":       {"internal/eventfd", "internal/guestmem", "internal/virtio"},
		"internal/virtio/blk":        device,
		"internal/virtio/rng":        device,
		"internal/virtio/vsock":      device,
		"internal/virtio/virtiotest": {"internal/guestmem", "internal/virtio", "internal/virtio/mmio"},

		"internal/disk":   {},
		"internal/initrd": {"internal/initrd/bootconf"},
		"internal/rootfs": {},

		"internal/vmm": {"internal/acpi", "internal/bus", "internal/config", "internal/disk", "internal/eventfd", "internal/guestmem",
			"internal/kvm", "internal/legacy", "internal/virtio/...", "internal/x86"},
		"internal/snapshot": {"internal/config", "internal/disk"},
		"internal/fork":     {"internal/config", "internal/guestmem", "internal/snapshot", "internal/vmm"},

		"internal/agent":   {"internal/agentproto", "internal/x86"},
		"internal/console": {},
		"internal/control": {"internal/cgroup", "internal/config"},
		"internal/session": {"internal/agent", "internal/agentproto", "internal/boot", "internal/cgroup", "internal/config",
			"internal/console", "internal/control", "internal/disk", "internal/fork", "internal/guestmem", "internal/initrd/...", "internal/snapshot",
			"internal/timing", "internal/virtio/vsock", "internal/vmm", "internal/x86"},

		"internal/guest/agentd": {"internal/agentproto"},
		"internal/guest/initd":  {"internal/initrd/bootconf"},

		"internal/testhost":        {"internal/testhost/inside"},
		"internal/testhost/inside": {},

		"cmd/clone": {"internal/agent", "internal/agentproto", "internal/cgroup", "internal/config", "internal/console", "internal/control",
			"internal/fork", "internal/kvm", "internal/rootfs", "internal/session", "internal/snapshot", "internal/timing",
			"internal/vmm"},
		"cmd/clone-agent": {"internal/guest/agentd"},
		"cmd/clone-init":  {"internal/guest/initd"},
		"cmd/testhost":    {"internal/testhost/..."},
	},

	forbidden: []forbiddenEdge{
		{from: values, to: []string{"os", "os/...", "net", "net/...", "golang.org/x/sys/..."},
			because: "it is plain values: no I/O, so that a parser of hostile input can do nothing but parse"},
		{from: values, to: []string{"internal/..."}, except: []string{"internal/acpi"},
			because: "it is plain values: whoever reads a configuration or a frame must not need the rest of the program"},
		{from: devices, to: devices,
			because: "a device knows no other device: each is tested, saved and fuzzed alone"},
		{from: devices, to: []string{"internal/kvm", "internal/irq", "internal/bus", "internal/vmm", "internal/virtio/mmio", "internal/virtio/pci"},
			because: "a device is told of the guest only through its virtio.Session: the same model runs on every transport, and without KVM in tests"},
		{from: devices, to: []string{"internal/disk/..."},
			because: "a device takes what it needs of the host as an interface of its own"},
		{from: []string{"internal/virtio"}, to: []string{"internal/virtio/mmio", "internal/virtio/pci", "internal/kvm", "internal/vmm"},
			because: "the device contract knows no transport"},
		{from: ground, to: []string{"internal/..."},
			because: "everything else stands on it: it knows nobody"},
		{from: []string{"internal/kvm", "internal/vhost", "internal/vfio"},
			to:      []string{"internal/config", "internal/x86", "internal/guestmem", "internal/virtio/...", "internal/vmm", "internal/snapshot"},
			because: "it is the kernel's interface, thin: policy belongs to whoever calls it"},
		{from: []string{"internal/control", "internal/daemon"}, to: []string{"internal/vmm", "internal/session", "internal/kvm", "internal/guestmem"},
			because: "it manages VMs as processes and never holds one: listing VMs must not need KVM"},
		{from: []string{"internal/snapshot"}, to: []string{"internal/vmm", "internal/guestmem", "internal/kvm"},
			because: "it is the files of a template; what is in the state is vmm's business"},
		{from: guests, to: []string{"net/http", "encoding/json", "github.com/...", "go.uber.org/..."},
			because: "it lies in the memory of every guest: each dependency is paid for in all of them"},
		{from: []string{"internal/..."}, to: []string{"internal/guest/..."},
			because: "it runs inside guests; the host's side embeds it as a program"},
		{from: []string{"internal/...", "cmd/..."}, to: []string{"internal/kvm"}, except: []string{"internal/vmm", "cmd/clone/doctor_kvm.go"},
			because: "only vmm drives KVM: the order of its calls is kept in one place"},
		{from: []string{"internal/...", "cmd/..."}, to: []string{"internal/virtio/virtiotest"},
			because: "it is test support, and is not linked into programs"},
		{from: []string{"internal/...", "cmd/..."}, to: []string{"internal/testhost/..."},
			except:  []string{"internal/testhost", "cmd/testhost"},
			because: "it is the test host, and no part of the product"},
		{from: []string{"internal/..."}, to: []string{"github.com/spf13/..."},
			because: "flags are cmd/clone's: everything below takes a request"},
		{from: []string{"internal/...", "cmd/..."}, to: []string{"net/http"}, except: []string{"internal/control"},
			because: "the control socket is the only HTTP here: the other end is internal/control's Client"},
	},

	modules: map[string][]string{
		"github.com/cavaliergopher/cpio":  {"internal/initrd"},
		"github.com/cespare/xxhash/v2":    {"internal/snapshot", "internal/vmm"},
		"github.com/google/go-cmp":        {},
		"github.com/klauspost/compress":   {"internal/initrd", "internal/testhost"},
		"github.com/rogpeppe/go-internal": {},
		"github.com/spf13/cobra":          {"cmd/clone"},
		"github.com/ulikunitz/xz":         {"internal/initrd", "internal/testhost"},
		"go.uber.org/goleak":              {"internal/virtio/virtiotest"},
		"golang.org/x/sys":                {"internal/...", "cmd/...", "test/...", "tools/..."},
		"golang.org/x/term":               {"cmd/clone", "internal/console"},
	},

	programs: []programRule{
		{"cmd/clone-init", []string{"fmt", "encoding/json", "net", "net/http"}, "PID 1 of every guest stays small"},
		{"cmd/clone-agent", []string{"encoding/json", "net", "net/http", "os/exec"}, "the agent stays in the memory of every guest"},
	},
}

// checkImports compares every import outside tests with the rules.
func checkImports(t *tree, rules importRules) (findings []string) {
	say := func(format string, a ...any) { findings = append(findings, fmt.Sprintf(format, a...)) }
	for _, p := range t.packages() {
		inTable := anyMatches([]string{"internal/...", "cmd/..."}, p.dir)
		if _, ok := rules.may[p.dir]; inTable && !ok {
			say("%s: a package without a rule: say in test/layout/imports_test.go what it may import", p.dir)
		}
		for _, f := range p.files {
			if f.test {
				continue
			}
			for _, imported := range f.imports {
				to, ours := t.local(imported)
				reasons := rules.reasonsAgainst(p.dir, f.path, to)
				for _, because := range reasons {
					say("%s imports %s: forbidden: %s", f.path, to, because)
				}
				switch {
				case len(reasons) > 0:
				case ours && inTable && !anyMatches(rules.may[p.dir], to):
					say("%s imports %s, which test/layout/imports_test.go does not let %s do", f.path, to, p.dir)
				case !ours && isModule(to) && !rules.mayUse(p.dir, to):
					say("%s imports %s, a module that test/layout/imports_test.go does not let %s use", f.path, to, p.dir)
				}
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(rules.may)) {
		if t.pkgs[dir] == nil {
			say("%s: a rule without a package", dir)
		}
	}
	return findings
}

func (r importRules) reasonsAgainst(dir, file, to string) (reasons []string) {
	for _, e := range r.forbidden {
		if anyMatches(e.from, dir) && anyMatches(e.to, to) && !anyMatches(e.except, dir) && !anyMatches(e.except, file) {
			reasons = append(reasons, e.because)
		}
	}
	return reasons
}

func (r importRules) mayUse(dir, imported string) bool {
	for module, users := range r.modules {
		if matches(module+"/...", imported) && anyMatches(users, dir) {
			return true
		}
	}
	return false
}

// isModule tells a module of others from the standard library, as the go command does.
func isModule(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return strings.Contains(first, ".")
}

// checkPrograms asks the go command what is linked into the programs.
func checkPrograms(t *tree, rules []programRule) (findings []string, err error) {
	for _, r := range rules {
		cmd := exec.Command("go", "list", "-deps", "./"+r.program)
		cmd.Dir, cmd.Env = t.root, append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list -deps ./%s: %w", r.program, err)
		}
		deps := strings.Fields(string(out))
		for _, unwanted := range r.without {
			if slices.Contains(deps, unwanted) {
				findings = append(findings, fmt.Sprintf("%s is linked with %s: %s", r.program, unwanted, r.because))
			}
		}
	}
	return findings, nil
}

func TestImports(t *testing.T) { report(t, checkImports(repository(t), design)) }

func TestPrograms(t *testing.T) {
	findings, err := checkPrograms(repository(t), design.programs)
	if err != nil {
		t.Fatal(err)
	}
	report(t, findings)
}
