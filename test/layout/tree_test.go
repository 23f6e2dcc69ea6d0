package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tree is a module's source as it lies on the disk.
type tree struct {
	root   string
	module string            // its path in go.mod
	fset   *token.FileSet    //
	pkgs   map[string]*pkg   // by directory below root: "internal/kvm"
	files  map[string][]byte // text of every source file and document, by path below root
	dirs   map[string]bool   // every directory, by path below root
}

// pkg is one directory of Go files.
type pkg struct {
	dir   string
	files []*source
}

// source is one Go file. Paths have slashes and begin below the root.
type source struct {
	path    string
	test    bool // _test.go
	ast     *ast.File
	imports []string
}

// load reads the module in root. Build constraints are not looked at: a rule holds for every file.
func load(root string) (*tree, error) {
	t := &tree{root: root, fset: token.NewFileSet(), pkgs: map[string]*pkg{}, files: map[string][]byte{}, dirs: map[string]bool{}}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel == ".git" || rel == "bin" {
				return fs.SkipDir
			}
			t.dirs[rel] = true
			return nil
		}
		return t.add(rel, d)
	})
	if err != nil {
		return nil, err
	}
	t.module = moduleOf(t.files["go.mod"])
	return t, nil
}

func (t *tree) add(rel string, d fs.DirEntry) error {
	if !d.Type().IsRegular() || rel == "internal/initrd/programs/clone-init" || rel == "internal/initrd/programs/clone-agent" {
		return nil // the two are built, not source
	}
	text, err := os.ReadFile(filepath.Join(t.root, rel))
	if err != nil {
		return err
	}
	t.files[rel] = text
	if path.Ext(rel) != ".go" || strings.Contains(rel, "testdata/") {
		return nil
	}
	parsed, err := parser.ParseFile(t.fset, rel, text, parser.ParseComments)
	if err != nil {
		return err
	}
	s := &source{path: rel, test: strings.HasSuffix(rel, "_test.go"), ast: parsed}
	for _, i := range parsed.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		s.imports = append(s.imports, p)
	}
	dir := path.Dir(rel)
	if t.pkgs[dir] == nil {
		t.pkgs[dir] = &pkg{dir: dir}
	}
	t.pkgs[dir].files = append(t.pkgs[dir].files, s)
	return nil
}

func moduleOf(mod []byte) string {
	for line := range strings.Lines(string(mod)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// packages returns the packages in the order of their directories.
func (t *tree) packages() []*pkg {
	var list []*pkg
	for _, dir := range slices.Sorted(maps.Keys(t.pkgs)) {
		list = append(list, t.pkgs[dir])
	}
	return list
}

// name is the package's, "" where it has only tests of another.
func (p *pkg) name() string {
	for _, f := range p.files {
		if !f.test {
			return f.ast.Name.Name
		}
	}
	return ""
}

// sources returns the Go files, tests too, in the order of their paths.
func (t *tree) sources() []*source {
	var list []*source
	for _, p := range t.packages() {
		list = append(list, p.files...)
	}
	return list
}

// local is an import path below the root of this module, or, with ours false, the path as it is.
func (t *tree) local(imported string) (p string, ours bool) {
	if rest, ok := strings.CutPrefix(imported, t.module+"/"); ok {
		return rest, true
	}
	return imported, false
}

// at is where a node is, as an editor takes it.
func (t *tree) at(n ast.Node) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// documents are the texts that people read, in the order of their paths.
func (t *tree) documents() []string {
	var docs []string
	for _, p := range slices.Sorted(maps.Keys(t.files)) {
		if path.Ext(p) == ".md" && (path.Dir(p) == "." || path.Dir(p) == "docs") {
			docs = append(docs, p)
		}
	}
	return docs
}

// matches tells whether a path is p, or, where the pattern is "p/...", p or below it.
func matches(pattern, p string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return p == base || below && strings.HasPrefix(p, base+"/")
}

func anyMatches(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, p) })
}

// repository is the tree that the tests are about.
func repository(t *testing.T) *tree {
	t.Helper()
	r, err := load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if r.module == "" || len(r.pkgs) == 0 {
		t.Fatal("../.. is not the root of the module")
	}
	return r
}

// report fails the test with every finding.
func report(t *testing.T, findings []string) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}
