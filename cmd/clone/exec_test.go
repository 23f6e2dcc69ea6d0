package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"clone/internal/agent"
)

func TestSplitExec(t *testing.T) {
	split := func(line string) []string { return strings.Fields(line) }
	for _, test := range []struct {
		flag, args string
		dash       int
		ref, want  string
		bad        bool
	}{
		{"", "ls -l", 0, "", "ls -l", false},                // exec -- ls -l
		{"", "ls -l", -1, "", "ls -l", false},               // exec ls -l
		{"web", "ls", 0, "web", "ls", false},                // exec --vm-id web -- ls
		{"", "web -- ls -l", -1, "web", "ls -l", false},     // exec web -- ls -l
		{"", "git -- x", 0, "", "git -- x", false},          // exec -- git -- x
		{"", "git log -- x", -1, "", "git log -- x", false}, // a later -- is the command's
		{"web", "web -- ls", -1, "web", "ls", false},
		{"web", "db -- ls", -1, "", "", true},
		{"", "", -1, "", "", true},
		{"", "", 0, "", "", true},
		{"", "web --", -1, "", "", true},
	} {
		ref, command, err := splitExec(test.flag, split(test.args), test.dash)
		if (err != nil) != test.bad || ref != test.ref || !slices.Equal(command, split(test.want)) {
			t.Errorf("%q %q %d: %q, %q, %v", test.flag, test.args, test.dash, ref, command, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	here := func(key string) (string, bool) {
		value, ok := map[string]string{"TERM": "xterm", "LANG": "C"}[key]
		return value, ok
	}
	for _, test := range []struct {
		command agent.Command
		want    []string
	}{
		{agent.Command{}, nil},
		{agent.Command{Env: []string{"A=b=c", "LANG", "NONE"}}, []string{"A=b=c", "LANG=C"}},
		{agent.Command{TTY: true, Env: []string{"TERM=dumb"}}, []string{"TERM=xterm", "TERM=dumb"}},
	} {
		if got := environment(test.command, here); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %q, want %q", test.command, got, test.want)
		}
	}
}

// BenchmarkCommandLine is what the command line itself adds to a fork.
func BenchmarkCommandLine(b *testing.B) {
	for b.Loop() {
		root := rootCommand()
		for _, c := range root.Commands() {
			c.RunE = func(*cobra.Command, []string) error { return nil } // only the parsing
		}
		if err := execute(root, []string{"version"}); err != nil {
			b.Fatal(err)
		}
	}
}
