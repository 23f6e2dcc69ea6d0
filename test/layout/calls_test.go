package layout

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unsafePackages may have files named *_unsafe.go.
var unsafePackages = []string{"internal/kvm", "internal/guestmem", "internal/vhost", "internal/vfio"}

// checkUnsafe finds unsafe, cgo, linkname and assembly outside the files that are named for it.
func checkUnsafe(t *tree) (findings []string) {
	for _, p := range slices.Sorted(maps.Keys(t.files)) {
		if ext := path.Ext(p); ext == ".s" || ext == ".S" || ext == ".c" || ext == ".h" {
			findings = append(findings, p+": assembly and C are not built here")
		}
	}
	for _, f := range t.sources() {
		if mayBeUnsafe(f.path) {
			continue
		}
		for _, i := range f.ast.Imports {
			if name, _ := strconv.Unquote(i.Path.Value); name == "unsafe" || name == "C" {
				findings = append(findings, fmt.Sprintf("%s: import of %s: it belongs in a file *_unsafe.go of %s",
					t.at(i), name, strings.Join(unsafePackages, ", ")))
			}
		}
		for _, g := range f.ast.Comments {
			for _, c := range g.List {
				if strings.HasPrefix(c.Text, "//go:linkname") {
					findings = append(findings, t.at(c)+": go:linkname belongs where unsafe does")
				}
			}
		}
	}
	return findings
}

func mayBeUnsafe(file string) bool {
	named := strings.HasSuffix(file, "_unsafe.go") || strings.HasSuffix(file, "_unsafe_test.go")
	return named && slices.Contains(unsafePackages, path.Dir(file))
}

// enders end the process or the goroutine, whoever calls them.
var enders = map[string]string{
	"os.Exit": "os", "syscall.Exit": "syscall", "unix.Exit": "golang.org/x/sys/unix", "runtime.Goexit": "runtime",
	"log.Fatal": "log", "log.Fatalf": "log", "log.Fatalln": "log", "log.Panic": "log", "log.Panicf": "log", "log.Panicln": "log",
}

// allowedCall is a call that ends the process although it is not in a main package.
type allowedCall struct{ file, call, because string }

var allowedCalls = []allowedCall{
	{"internal/guest/initd/run.go", "os.Exit", "somebody called clone-init by hand, not as PID 1"},
	{"internal/guest/initd/poweroff.go", "os.Exit", "the end of PID 1, where the kernel did not take the reset: it panics, and the VM ends"},
	{"internal/virtio/virtiotest/fuzz.go", "panic", "test support: a device that hangs in a fuzz target is a crash of the fuzzer's worker"},
}

// checkEnds finds what could end the process on a path that a guest, an image or a peer reaches, and init functions: the
// start of the program is part of the time a fork takes.
func checkEnds(t *tree, allowed []allowedCall) (findings []string) {
	used := map[allowedCall]bool{}
	for _, p := range t.packages() {
		for _, f := range p.files {
			if f.test || f.ast.Name.Name == "main" {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					if n.Recv == nil && n.Name.Name == "init" {
						findings = append(findings, t.at(n)+": func init: it runs at the start of every fork")
					}
				case *ast.CallExpr:
					name := ender(f, n)
					i := slices.IndexFunc(allowed, func(a allowedCall) bool { return a.file == f.path && a.call == name })
					switch {
					case name == "":
					case i >= 0:
						used[allowed[i]] = true
					default:
						findings = append(findings, fmt.Sprintf("%s: %s: return an error: only main packages end the process", t.at(n), name))
					}
				}
				return true
			})
		}
	}
	for _, a := range allowed {
		if !used[a] {
			findings = append(findings, fmt.Sprintf("%s: no call of %s is left to allow", a.file, a.call))
		}
	}
	return findings
}

// ender names what a call ends the process with, "" for any other call.
func ender(f *source, call *ast.CallExpr) string {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		if fun.Name == "panic" {
			return "panic"
		}
	case *ast.SelectorExpr:
		x, ok := fun.X.(*ast.Ident)
		if !ok {
			return ""
		}
		for name, imported := range enders {
			_, short, _ := strings.Cut(name, ".")
			if short == fun.Sel.Name && x.Name == nameOfImport(f, imported) {
				return name
			}
		}
	}
	return ""
}

// nameOfImport is what a file calls a package, "" where it does not import it.
func nameOfImport(f *source, imported string) string {
	for _, i := range f.ast.Imports {
		if p, _ := strconv.Unquote(i.Path.Value); p != imported {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return path.Base(imported)
	}
	return ""
}

func TestUnsafe(t *testing.T) { report(t, checkUnsafe(repository(t))) }

func TestEnds(t *testing.T) { report(t, checkEnds(repository(t), allowedCalls)) }
