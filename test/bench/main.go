package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"clone/internal/testhost/inside"
)

// parts are what -only chooses from, in order.
var parts = []string{"engine", "process", "guest"}

type options struct {
	parts    []string
	n        int  // samples of the native parts
	markdown bool // rows for docs/performance.md
	inside   bool // this is the KVM host: the guest part itself
}

func main() {
	if inside.IsInit() { // of the emulated host
		inside.Main()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err == nil && o.inside:
		err = insideMain(ctx, os.Stdout)
	case err == nil:
		err = bench(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := fs.String("only", strings.Join(parts, ","), "measure these `parts`")
	fs.IntVar(&o.n, "n", 300, "samples of each native figure")
	fs.BoolVar(&o.markdown, "markdown", false, "print rows for docs/performance.md")
	fs.BoolVar(&o.inside, "inside", false, "this is the KVM host: measure guests here, and print JSON")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.parts = strings.Split(*only, ",")
	for _, p := range o.parts {
		if !slices.Contains(parts, p) {
			return o, fmt.Errorf("-only %s: the parts are %s", p, strings.Join(parts, ", "))
		}
	}
	if o.n < 1 || fs.NArg() > 0 {
		return o, errors.New("usage: bench [-only PARTS] [-n SAMPLES] [-markdown]")
	}
	return o, nil
}

// bench measures the parts that were asked for. One that fails does not stop the others.
func bench(ctx context.Context, o options) error {
	var machines []Machine
	var rows []Row
	var failed []error
	for _, part := range parts {
		if !slices.Contains(o.parts, part) || ctx.Err() != nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s ...\n", part)
		machine, list, err := measure(ctx, part, o.n)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", part, err))
		}
		for _, r := range list {
			r.Part, r.Machine = part, machine.Name
			rows = append(rows, r)
		}
		if !slices.Contains(machines, machine) {
			machines = append(machines, machine)
		}
	}
	if o.markdown {
		printMarkdown(os.Stdout, machines, rows, time.Now())
	} else {
		failed = append(failed, printRows(os.Stdout, rows))
	}
	if len(failed) == 0 {
		return ctx.Err()
	}
	return errors.Join(failed...)
}

// measure returns the rows of one part; after an error those that were ready by then.
func measure(ctx context.Context, part string, n int) (m Machine, rows []Row, err error) {
	m = thisMachine("native")
	switch part {
	case "engine":
		rows, err = engineBench(n)
	case "process":
		rows, err = processBench(n)
	case "guest":
		m, rows, err = guestBench(ctx)
	}
	return m, rows, err
}
