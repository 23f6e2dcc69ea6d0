package layout

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// span is a piece of code in a document: between backticks, or a line of a block.
type span struct {
	doc   string
	line  int
	text  string
	block bool
}

func (s span) String() string { return fmt.Sprintf("%s:%d: `%s`", s.doc, s.line, s.text) }

var inlineCode = regexp.MustCompile("`([^`]+)`")

// spans finds the code in a document. A line of a block that ends in a backslash goes on in the next.
func spans(doc string, text []byte) (list []span) {
	block := false
	begun := "" // of a line that goes on
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			block, begun = !block, ""
		case block:
			line = begun + line
			if rest, goesOn := strings.CutSuffix(line, `\`); goesOn {
				begun = rest
				continue
			}
			list = append(list, span{doc, number, strings.TrimSpace(line), true})
			begun = ""
		default:
			for _, m := range inlineCode.FindAllStringSubmatch(line, -1) {
				list = append(list, span{doc, number, m[1], false})
			}
		}
	}
	return list
}

func (t *tree) spans() (list []span) {
	for _, doc := range t.documents() {
		list = append(list, spans(doc, t.files[doc])...)
	}
	return list
}

var (
	pathForm = regexp.MustCompile(`^\.?[A-Za-z0-9_][A-Za-z0-9_.*-]*(/[A-Za-z0-9_.*-]+)*/?$`)
	fileForm = regexp.MustCompile(`^[A-Za-z0-9_-]+\.(go|md)$`)
	linkForm = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
)

// topLevel are names that a path of this repository begins with, whether they exist or not.
var topLevel = []string{"cmd", "internal", "docs", "test", "tools", ".ci", "bin"}

// checkPaths finds paths of this repository in documents, and links, that lead nowhere.
func checkPaths(t *tree) (findings []string) {
	for _, s := range t.spans() {
		if s.block || !pathForm.MatchString(s.text) {
			continue
		}
		name := strings.TrimSuffix(s.text, "/")
		first, _, deep := strings.Cut(name, "/")
		switch {
		case fileForm.MatchString(name):
			if !t.hasFileNamed(name) {
				findings = append(findings, s.String()+": no file has this name")
			}
		case deep && (slices.Contains(topLevel, first) || t.dirs[first]):
			if !t.has(name) {
				findings = append(findings, s.String()+": no such path")
			}
		}
	}
	for _, doc := range t.documents() {
		for _, m := range linkForm.FindAllStringSubmatch(string(t.files[doc]), -1) {
			if target := m[1]; !strings.Contains(target, ":") && !t.has(path.Join(path.Dir(doc), target)) {
				findings = append(findings, fmt.Sprintf("%s: link to %s, which does not exist", doc, target))
			}
		}
	}
	return findings
}

// has tells whether a path, or something that fits a pattern, exists. What make builds into bin counts if its source does.
func (t *tree) has(name string) bool {
	if program, ok := strings.CutPrefix(name, "bin/"); ok {
		return t.dirs["cmd/"+program] || t.dirs["tools/"+program] || t.dirs["test/"+program]
	}
	fits := func(p string) bool { ok, _ := path.Match(name, p); return ok }
	for p := range t.files {
		if fits(p) {
			return true
		}
	}
	for p := range t.dirs {
		if fits(p) {
			return true
		}
	}
	return false
}

func (t *tree) hasFileNamed(name string) bool {
	for p := range t.files {
		if path.Base(p) == name {
			return true
		}
	}
	return false
}

var goName = regexp.MustCompile(`^\*?([a-z][a-z0-9]*)\.([A-Z]\w*)(?:\.(\w+))?(?:\(.*\))?$`)

// checkNames finds names such as vmm.Restore or vmm.Machine.Pause in documents that no package of ours declares.
func checkNames(t *tree) (findings []string) {
	declared := map[string]map[string]bool{}
	for _, p := range t.packages() {
		if name := p.name(); name != "" && name != "main" {
			if declared[name] == nil {
				declared[name] = map[string]bool{}
			}
			for _, f := range p.files {
				declare(declared[name], f.ast)
			}
		}
	}
	for _, s := range t.spans() {
		m := goName.FindStringSubmatch(s.text)
		if m == nil || declared[m[1]] == nil {
			continue
		}
		name := m[2]
		if m[3] != "" {
			name += "." + m[3]
		}
		if !declared[m[1]][name] {
			findings = append(findings, fmt.Sprintf("%s: package %s declares no %s", s, m[1], name))
		}
	}
	return findings
}

// declare notes what a file declares: names, and Type.Member of methods and fields.
func declare(names map[string]bool, f *ast.File) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil && len(d.Recv.List) == 1 {
				name = receiver(d.Recv.List[0].Type) + "." + name
			}
			names[name] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for _, id := range spec.Names {
						names[id.Name] = true
					}
				case *ast.TypeSpec:
					names[spec.Name.Name] = true
					for _, member := range members(spec.Type) {
						names[spec.Name.Name+"."+member] = true
					}
				}
			}
		}
	}
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func members(e ast.Expr) (names []string) {
	var list *ast.FieldList
	switch e := e.(type) {
	case *ast.StructType:
		list = e.Fields
	case *ast.InterfaceType:
		list = e.Methods
	default:
		return nil
	}
	for _, field := range list.List {
		for _, id := range field.Names {
			names = append(names, id.Name)
		}
	}
	return names
}

func TestPathsInDocuments(t *testing.T) { report(t, checkPaths(repository(t))) }

func TestNamesInDocuments(t *testing.T) { report(t, checkNames(repository(t))) }
