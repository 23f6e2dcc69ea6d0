package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// notUnit are the packages that need a KVM host, or are about one.
var notUnit = []string{"clone/test/e2e", "clone/test/hosttest"}

// unitTimeout is for one package, as go test has it.
const unitTimeout = "10m"

// check is the stage of that name.
func (s *suite) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return errors.Join(vet(ctx), gofmt(ctx), s.unit(ctx))
}

func vet(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "vet", "./...")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go vet: %w", err)
	}
	fmt.Println("ok  \tgo vet")
	return nil
}

func gofmt(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "gofmt", "-l", ".").Output()
	if err != nil {
		return fmt.Errorf("gofmt: %w", err)
	}
	if files := strings.Fields(string(out)); len(files) > 0 {
		return fmt.Errorf("gofmt: run gofmt -w on %s", strings.Join(files, " "))
	}
	fmt.Println("ok  \tgofmt")
	return nil
}

// unit runs the unit tests, with the race detector where there is the C compiler
// that it needs.
func (s *suite) unit(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "list", "./...").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	packages := slices.DeleteFunc(strings.Fields(string(out)), func(p string) bool { return slices.Contains(notUnit, p) })
	args := []string{"test", "-json", "-timeout", unitTimeout}
	env := os.Environ()
	if _, err := exec.LookPath("gcc"); err == nil {
		args, env = append(args, "-race"), append(env, "CGO_ENABLED=1")
	} else {
		fmt.Println("no gcc: without the race detector")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Env, cmd.Stderr = env, os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	r := renderer{out: os.Stdout, counts: &s.counts, pending: map[string][]string{}, failures: map[string]int{}}
	renderErr := r.render(stdout)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	return renderErr
}

// An event is one line of go test -json, as "go doc test2json" has it.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// A renderer shows what go test shows without -v: a line for each package, and
// the output of what failed.
type renderer struct {
	out      io.Writer
	counts   *counts
	pending  map[string][]string // package and top-level test → its output so far
	failures map[string]int      // package → failed tests
}

func (r *renderer) render(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadString('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(r.out, line) // not from test2json: show it
			} else {
				r.event(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *renderer) event(e event) {
	top, _, isSub := strings.Cut(e.Test, "/")
	key := e.Package + " " + top
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		r.pending[key] = append(r.pending[key], e.Output)
	case "pass", "fail", "skip":
		switch {
		case isSub:
			return
		case e.Test == "":
			r.endOfPackage(e, key)
		default:
			r.counts.add(e.Action)
			if e.Action != "pass" {
				r.failures[e.Package]++
				r.counts.explain(key, r.pending[key])
				r.flush(key)
			}
		}
		delete(r.pending, key)
	}
}

// endOfPackage shows the package's own line, or everything it said if it failed.
func (r *renderer) endOfPackage(e event, key string) {
	if e.Action == "fail" {
		if r.failures[e.Package] == 0 {
			r.counts.add("fail") // it did not build, or died outside a test
		}
		// Tests that had not ended when the package did.
		for k := range r.pending {
			if k != key && strings.HasPrefix(k, e.Package+" ") {
				r.flush(k)
				delete(r.pending, k)
			}
		}
		r.flush(key)
		return
	}
	for _, line := range r.pending[key] {
		if strings.HasPrefix(line, "ok ") {
			fmt.Fprint(r.out, line)
		}
	}
}

func (r *renderer) flush(key string) {
	for _, line := range r.pending[key] {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(r.out, line)
		}
	}
}
