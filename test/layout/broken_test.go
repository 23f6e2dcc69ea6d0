package layout

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a module of the given files and reads it.
func write(t *testing.T, files map[string]string) *tree {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"go.mod": "module clone\n\ngo 1.26\n"}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mustFind fails the test where no finding contains want.
func mustFind(t *testing.T, findings []string, want string) {
	t.Helper()
	if !strings.Contains(strings.Join(findings, "\n"), want) {
		t.Errorf("no finding contains %q; there are %q", want, findings)
	}
}

// goFile is a file that imports something.
func goFile(dir, imported string) string {
	if !isModule(imported) && strings.HasPrefix(imported, "internal/") {
		imported = "clone/" + imported
	}
	return fmt.Sprintf("package %s\n\nimport _ %q\n", strings.ReplaceAll(path.Base(dir), "-", ""), imported)
}

// TestForbiddenEdges breaks every forbidden edge of the design once, with the reason to be found.
func TestForbiddenEdges(t *testing.T) {
	for i, e := range design.forbidden {
		if e.because == "" {
			t.Errorf("edge %d has no reason", i)
		}
		for _, from := range e.from {
			for _, to := range e.to {
				dir, _ := strings.CutSuffix(from, "/...")
				imported, below := strings.CutSuffix(to, "/...")
				if below {
					imported += "/anything"
				}
				if anyMatches(e.except, dir) {
					continue
				}
				r := write(t, map[string]string{dir + "/x.go": goFile(dir, imported)})
				mustFind(t, checkImports(r, design), "imports "+imported+": forbidden: "+e.because)
			}
		}
	}
}

func TestExceptionsAreExact(t *testing.T) {
	r := write(t, map[string]string{
		"cmd/clone/doctor_kvm.go": goFile("main", "internal/kvm"),
		"cmd/clone/run.go":        goFile("main", "internal/kvm"),
	})
	findings := strings.Join(checkImports(r, design), "\n")
	mustFind(t, []string{findings}, "cmd/clone/run.go imports internal/kvm")
	if strings.Contains(findings, "doctor_kvm.go") {
		t.Errorf("the exception is not one: %s", findings)
	}
}

func TestBrokenImports(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"internal/newcomer: a package without a rule":              {"internal/newcomer/x.go": "package newcomer\n"},
		"cmd/newcomer: a package without a rule":                   {"cmd/newcomer/x.go": "package main\n"},
		"internal/bus: a rule without a package":                   {},
		"does not let internal/agent do":                           {"internal/agent/x.go": goFile("agent", "internal/control")},
		"a module that test/layout/imports_test.go does not let":   {"internal/agent/x.go": goFile("agent", "example.org/other")},
		"internal/bus/x.go imports github.com/klauspost/compress/": {"internal/bus/x.go": goFile("bus", "github.com/klauspost/compress/zstd")},
	} {
		mustFind(t, checkImports(write(t, files), design), want)
	}
	tests := write(t, map[string]string{"internal/virtio/blk/x_test.go": goFile("blk", "internal/disk")})
	if findings := strings.Join(checkImports(tests, design), "\n"); strings.Contains(findings, "x_test.go") {
		t.Errorf("a test may import what it tests with: %s", findings)
	}
}

func TestBrokenProgram(t *testing.T) {
	r := write(t, map[string]string{
		"cmd/clone-init/main.go":   "package main\n\nimport \"clone/internal/initd\"\n\nfunc main() { initd.Run() }\n",
		"internal/initd/initd.go":  "package initd\n\nimport \"fmt\"\n\nfunc Run() { fmt.Println() }\n",
		"cmd/clone-agent/agent.go": "package main\n\nfunc main() {}\n",
	})
	findings, err := checkPrograms(r, design.programs)
	if err != nil {
		t.Fatal(err)
	}
	mustFind(t, findings, "cmd/clone-init is linked with fmt")
	if len(findings) != 1 {
		t.Errorf("%q", findings)
	}
}

func TestBrokenCalls(t *testing.T) {
	const dirty = "package disk\n\nimport (\n\tstop \"log\"\n\t\"os\"\n)\n\n"
	for want, files := range map[string]map[string]string{
		"disk.go:8: panic":     {"internal/disk/disk.go": dirty + "func F() { panic(os.Args) }\nvar _ = stop.Prefix\n"},
		"disk.go:8: os.Exit":   {"internal/disk/disk.go": dirty + "func F() { os.Exit(1) }\nvar _ = stop.Prefix\n"},
		"disk.go:8: log.Fatal": {"internal/disk/disk.go": dirty + "func F() { stop.Fatal(os.Args) }\n"},
		"disk.go:3: func init": {"internal/disk/disk.go": "package disk\n\nfunc init() {}\n"},
		"no call of os.Exit":   {},
	} {
		mustFind(t, checkEnds(write(t, files), allowedCalls), want)
	}
	fine := write(t, map[string]string{
		"cmd/x/main.go":           "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(1) }\n",
		"internal/disk/x_test.go": "package disk\n\nfunc F() { panic(1) }\n",
		"internal/disk/disk.go":   "package disk\n\ntype os struct{}\n\nfunc (os) Exit(int) {}\n\nfunc F() { os{}.Exit(1) }\n",
	})
	report(t, checkEnds(fine, nil))
}

func TestBrokenUnsafe(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"internal/kvm/vm.go:3: import of unsafe":           {"internal/kvm/vm.go": goFile("kvm", "unsafe")},
		"internal/disk/raw_unsafe.go:3: import of unsafe":  {"internal/disk/raw_unsafe.go": goFile("disk", "unsafe")},
		"internal/disk/raw_test.go:3: import of unsafe":    {"internal/disk/raw_test.go": goFile("disk", "unsafe")},
		"internal/disk/raw.go:3: import of C":              {"internal/disk/raw.go": goFile("disk", "C")},
		"internal/disk/raw.go:3: go:linkname":              {"internal/disk/raw.go": "package disk\n\n//go:linkname now time.now\nfunc now()\n"},
		"internal/kvm/run.s: assembly and C are not built": {"internal/kvm/run.s": ""},
	} {
		mustFind(t, checkUnsafe(write(t, files)), want)
	}
	report(t, checkUnsafe(write(t, map[string]string{"internal/kvm/run_unsafe.go": goFile("kvm", "unsafe")})))
}

func TestBrokenDocuments(t *testing.T) {
	const fork = "package fork\n\ntype Source struct{ name string }\n\nfunc (s *Source) Machine() {}\n"
	for want, text := range map[string]string{
		"no such path":                     "see `internal/nowhere`",
		"`docs/nothing.md`: no such path":  "see `docs/nothing.md`",
		"`tools/*.sh`: no such path":       "see `tools/*.sh`",
		"`bin/other`: no such path":        "see `bin/other`",
		"no file has this name":            "see `nothing.go`",
		"link to docs/gone.md":             "see [there](docs/gone.md)",
		"package fork declares no Open":    "calls `fork.Open`",
		"package fork declares no Source.": "calls `fork.Source.Disks`",
	} {
		r := write(t, map[string]string{"internal/fork/fork.go": fork, "README.md": text})
		mustFind(t, append(checkPaths(r), checkNames(r)...), want)
	}
	r := write(t, map[string]string{"internal/fork/fork.go": fork, "cmd/clone/main.go": "package main\n",
		"README.md": "`internal/fork`, `internal/*/fork.go`, `fork.go`, `bin/clone`, `/dev/kvm`, `~/.clone`, `NAME/state`, `fork.Source`, " +
			"`fork.Source.Machine`, `fork.Source.name`, `unix.Syscall`, [code](internal/fork) and [site](https://example.org/x)\n"})
	report(t, append(checkPaths(r), checkNames(r)...))
}

// help is a small clone.
var help = cli{
	"":              parseHelp("Usage:\n  clone\n\nAvailable Commands:\n  run         Boot\n  template    Templates\n\nFlags:\n  -h, --help   help\n"),
	"run":           parseHelp("Usage:\n  clone run\n\nFlags:\n      --kernel string   the kernel\n  -d, --detach          return\n"),
	"template":      parseHelp("Available Commands:\n  list        List\n"),
	"template list": parseHelp("Flags:\n      --json   print\n"),
}

func TestBrokenCommands(t *testing.T) {
	for want, text := range map[string]string{
		"the Makefile has no target tset":                        "run `make tset`",
		"the Makefile has no target nothing":                     "```\nmake build && make nothing\n```",
		"has no subcommand walk":                                 "`clone walk`",
		"clone template has no subcommand rm":                    "`clone template rm NAME`",
		"clone run has no flag --fast":                           "`clone run --kernel K [--fast]`",
		"README.md:3: `sudo bin/clone run --kernel K        -x`": "```\nsudo bin/clone run --kernel K \\\n       -x\n```",
		"no command of clone has the flag --slow":                "with `--slow`",
		"clone run has no flag --json":                           "```\nx=$(clone run --kernel K) | clone run --json\n```",
	} {
		r := write(t, map[string]string{"Makefile": "build:\n\ttrue\n", "README.md": text})
		mustFind(t, append(checkMake(r), checkCLI(r, help)...), want)
	}
	r := write(t, map[string]string{"Makefile": "build: x\n", "README.md": "`make build`, `clone run (--kernel=K | -d) -- sh --flag`, `--json`, " +
		"`clone template list --json`\n\n```\nmake build        # and make more\nclone template list | grep -v x\n```\n"})
	report(t, append(checkMake(r), checkCLI(r, help)...))
}

func TestBrokenShape(t *testing.T) {
	const mod = "module clone\n\nrequire (\n\texample.org/a v1.0.0\n\texample.org/a/b v1.0.0 // indirect\n)\n"
	for want, files := range map[string]map[string]string{
		"no file has a package comment":                   {"internal/bus/bus.go": "package bus\n"},
		"does not begin with \"Package bus \"":            {"internal/bus/bus.go": "// Buses.\npackage bus\n"},
		"several package comments":                        {"internal/bus/a.go": "// Package bus is.\npackage bus\n", "internal/bus/b.go": "// Package bus is.\npackage bus\n"},
		"internal/bus: only tests":                        {"internal/bus/bus_test.go": "package bus\n"},
		"example.org/a/b has no line in":                  {"go.mod": mod, "x/x.go": goFile("x", "example.org/a/b/c"), decisions: "| `example.org/a` | x |\n"},
		"a line on example.org/a, which nothing imports":  {"go.mod": mod, decisions: "| `example.org/a` | x |\n"},
		"imports example.org/z, which go.mod does not":    {"go.mod": mod, "x/x.go": goFile("x", "example.org/z")},
		"internal/bus/bus.go has 601 lines":               {"internal/bus/bus.go": "package bus\n" + strings.Repeat("\n", 600)},
		"example.org/a has no line in docs/decisions.md:": {"go.mod": mod, "x/x_test.go": goFile("x", "example.org/a")},
	} {
		r := write(t, files)
		mustFind(t, append(append(checkComments(r), checkDependencies(r)...), checkLength(r)...), want)
	}
	r := write(t, map[string]string{"x/x.go": "package x\n", "y/y.go": "package y\n", architecture: "| `x` | X |\n"})
	mustFind(t, checkMap(r), "y is not in the code map")
	if findings := checkMap(r); len(findings) != 1 {
		t.Errorf("%q", findings)
	}
	fine := write(t, map[string]string{"go.mod": mod, decisions: "| `example.org/a` | x |\n",
		"x/x.go": "// Package x is.\n" + goFile("x", "example.org/a/y") + strings.Repeat("\n", maxLines-4)})
	report(t, append(append(checkComments(fine), checkDependencies(fine)...), checkLength(fine)...))
}
