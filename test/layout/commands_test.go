package layout

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	makeCall   = regexp.MustCompile(`(?:^|\s)make ([a-z][a-z-]*)`)
)

// checkMake finds `make TARGET` in documents where the Makefile has no such target.
func checkMake(t *tree) (findings []string) {
	targets := map[string]bool{}
	for _, m := range makeTarget.FindAllStringSubmatch(string(t.files["Makefile"]), -1) {
		targets[m[1]] = true
	}
	for _, s := range t.spans() {
		text, _, _ := strings.Cut(" "+s.text, " #")
		for _, m := range makeCall.FindAllStringSubmatch(text, -1) {
			if !targets[m[1]] {
				findings = append(findings, fmt.Sprintf("%s: the Makefile has no target %s", s, m[1]))
			}
		}
	}
	return findings
}

// cli is what clone --help says: one command for each command line in words ("", "template", "template list", ...).
type cli map[string]helpText

type helpText struct {
	commands map[string]bool // subcommands
	flags    map[string]bool // "--json", "-t"
}

var (
	helpCommand = regexp.MustCompile(`^  ([a-z][a-z-]*) +\S`)
	helpFlag    = regexp.MustCompile(`^ +(?:(-\w), )?(--[a-z][a-z0-9-]*)\b`)
)

// parseHelp reads cobra's help text.
func parseHelp(text string) helpText {
	h := helpText{map[string]bool{}, map[string]bool{}}
	section := ""
	for line := range strings.Lines(text) {
		if title, ok := strings.CutSuffix(strings.TrimRight(line, "\n"), ":"); ok && !strings.HasPrefix(line, " ") {
			section = title
			continue
		}
		if m := helpCommand.FindStringSubmatch(line); m != nil && strings.HasSuffix(section, "Commands") {
			h.commands[m[1]] = true
		}
		if m := helpFlag.FindStringSubmatch(line); m != nil && strings.HasSuffix(section, "Flags") {
			h.flags[m[1]], h.flags[m[2]] = true, true
		}
	}
	return h
}

// readCLI asks a clone program for the help of every command it has.
func readCLI(program string) (cli, error) {
	c := cli{}
	var read func(words []string) error
	read = func(words []string) error {
		out, err := exec.Command(program, append(slices.Clone(words), "--help")...).Output()
		if err != nil {
			return fmt.Errorf("clone %s --help: %w", strings.Join(words, " "), err)
		}
		h := parseHelp(string(out))
		c[strings.Join(words, " ")] = h
		for _, sub := range slices.Sorted(maps.Keys(h.commands)) {
			if err := read(append(slices.Clone(words), sub)); err != nil {
				return err
			}
		}
		return nil
	}
	return c, read(nil)
}

// find follows a command line to its command, and returns the words after it.
func (c cli) find(words []string) (command string, rest []string, err error) {
	for len(words) > 0 && len(c[command].commands) > 0 && !strings.HasPrefix(words[0], "-") {
		if !c[command].commands[words[0]] {
			return "", nil, fmt.Errorf("clone %s has no subcommand %s", command, words[0])
		}
		command, words = strings.TrimSpace(command+" "+words[0]), words[1:]
	}
	return command, words, nil
}

// known tells whether any command has a flag.
func (c cli) known(flag string) bool {
	for _, h := range c {
		if h.flags[flag] {
			return true
		}
	}
	return false
}

var (
	flagForm   = regexp.MustCompile(`^--?[a-z][a-z0-9-]*`)
	shellSplit = regexp.MustCompile(`[|;&]+|\$\(|\)`)
	notWord    = strings.NewReplacer("[", " ", "]", " ", "(", " ", ")", " ", "...", " ", `"`, " ", "'", " ")
)

// checkCLI finds command lines of clone in documents, and flags alone, that the program does not have.
func checkCLI(t *tree, c cli) (findings []string) {
	for _, s := range t.spans() {
		text, _, _ := strings.Cut(s.text, " #")
		if !s.block && strings.HasPrefix(text, "--") {
			if flag := flagForm.FindString(text); flag != "" && !c.known(flag) {
				findings = append(findings, fmt.Sprintf("%s: no command of clone has the flag %s", s, flag))
			}
			continue
		}
		for _, part := range commandLines(text, s.block) {
			if err := c.check(part); err != nil {
				findings = append(findings, fmt.Sprintf("%s: %v", s, err))
			}
		}
	}
	return findings
}

// commandLines finds the calls of clone in a line, as the words that follow its name. A synopsis in a document has
// alternatives, (A | B), where a shell has pipes; only in a block the line is a shell's.
func commandLines(text string, shell bool) (lines [][]string) {
	parts := []string{text}
	if shell {
		parts = shellSplit.Split(text, -1)
	}
	for _, part := range parts {
		words := strings.Fields(notWord.Replace(part))
		if len(words) > 0 && words[0] == "sudo" {
			words = words[1:]
		}
		if len(words) > 0 && (words[0] == "clone" || words[0] == "bin/clone") {
			lines = append(lines, words[1:])
		}
	}
	return lines
}

// check tells what is wrong with a command line: a subcommand or a flag that does not exist.
func (c cli) check(words []string) error {
	command, rest, err := c.find(words)
	if err != nil {
		return err
	}
	for _, w := range rest {
		if w == "--" {
			break // what follows belongs to the guest
		}
		if flag := flagForm.FindString(w); flag != "" && !c[command].flags[flag] {
			return fmt.Errorf("clone %s has no flag %s", command, flag)
		}
	}
	return nil
}

func TestMakeInDocuments(t *testing.T) { report(t, checkMake(repository(t))) }

func TestCommandsInDocuments(t *testing.T) {
	r := repository(t)
	program := filepath.Join(t.TempDir(), "clone")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./cmd/clone")
	build.Dir, build.Env = r.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/clone: %v\n%s", err, out)
	}
	c, err := readCLI(program)
	if err != nil {
		t.Fatal(err)
	}
	if !c[""].commands["run"] || !c["run"].flags["--kernel"] || !c["exec"].flags["-t"] {
		t.Fatalf("the help of clone was not understood: %v", c)
	}
	report(t, checkCLI(r, c))
}
