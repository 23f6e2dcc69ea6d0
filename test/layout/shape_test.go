package layout

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// checkComments finds packages that do not say what they are.
func checkComments(t *tree) (findings []string) {
	for _, p := range t.packages() {
		var documented []string
		for _, f := range p.files {
			if f.test || f.ast.Doc == nil {
				continue
			}
			documented = append(documented, f.path)
			if want := "Package " + p.name() + " "; p.name() != "main" && !strings.HasPrefix(f.ast.Doc.Text(), want) {
				findings = append(findings, fmt.Sprintf("%s: the package comment does not begin with %q", f.path, want))
			}
		}
		switch {
		case p.name() == "":
			findings = append(findings, p.dir+": only tests: give it a doc.go")
		case len(documented) == 0:
			findings = append(findings, p.dir+": no file has a package comment")
		case len(documented) > 1:
			findings = append(findings, fmt.Sprintf("%s: several package comments: %s", p.dir, strings.Join(documented, ", ")))
		}
	}
	return findings
}

const architecture = "docs/architecture.md"

// checkMap finds packages that the code map in docs/architecture.md leaves out.
func checkMap(t *tree) (findings []string) {
	named := map[string]bool{}
	for _, s := range spans(architecture, t.files[architecture]) {
		named[s.text] = true
	}
	for _, p := range t.packages() {
		if !named[p.dir] {
			findings = append(findings, fmt.Sprintf("%s is not in the code map of %s", p.dir, architecture))
		}
	}
	return findings
}

const decisions = "docs/decisions.md"

var (
	requirement = regexp.MustCompile(`(?m)^(?:require)?\s+([a-z0-9.-]+\.[a-z]+/\S+) v\S+`)
	tableRow    = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
)

// checkDependencies compares the modules that are imported anywhere, tests included, with go.mod and with the table of
// dependencies in docs/decisions.md: each has its line there, and nothing else has.
func checkDependencies(t *tree) (findings []string) {
	var required []string
	for _, m := range requirement.FindAllSubmatch(t.files["go.mod"], -1) {
		required = append(required, string(m[1]))
	}
	direct := map[string]bool{}
	for _, f := range t.sources() {
		for _, imported := range f.imports {
			if _, ours := t.local(imported); ours || !isModule(imported) {
				continue
			}
			module := ""
			for _, r := range required {
				if matches(r+"/...", imported) && len(r) > len(module) {
					module = r
				}
			}
			if module == "" {
				findings = append(findings, fmt.Sprintf("%s imports %s, which go.mod does not require", f.path, imported))
				continue
			}
			direct[module] = true
		}
	}
	explained := map[string]bool{}
	for _, m := range tableRow.FindAllSubmatch(t.files[decisions], -1) {
		if name := string(m[1]); isModule(name) {
			explained[name] = true
		}
	}
	for _, module := range slices.Sorted(maps.Keys(direct)) {
		if !explained[module] {
			findings = append(findings, fmt.Sprintf("%s has no line in %s: why it is there, and what it weighs", module, decisions))
		}
	}
	for _, module := range slices.Sorted(maps.Keys(explained)) {
		if !direct[module] {
			findings = append(findings, fmt.Sprintf("%s has a line on %s, which nothing imports", decisions, module))
		}
	}
	return findings
}

// maxLines is where a file is taken apart. Most have 80 to 300.
const maxLines = 600

// checkLength finds files that are too long to be about one thing.
func checkLength(t *tree) (findings []string) {
	for _, p := range slices.Sorted(maps.Keys(t.files)) {
		ext := path.Ext(p)
		source := ext == ".go" || ext == ".md" || ext == "" || ext == ".sh"
		if n := bytes.Count(t.files[p], []byte("\n")); source && n > maxLines {
			findings = append(findings, fmt.Sprintf("%s has %d lines: look for the second noun above 400, and take it apart before %d", p, n, maxLines))
		}
	}
	return findings
}

func TestComments(t *testing.T) { report(t, checkComments(repository(t))) }

func TestCodeMap(t *testing.T) { report(t, checkMap(repository(t))) }

func TestDependencies(t *testing.T) { report(t, checkDependencies(repository(t))) }

func TestLength(t *testing.T) { report(t, checkLength(repository(t))) }
