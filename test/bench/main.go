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
var parts = []string{"engine", "process", "guest", "density", "unique"}

type options struct {
	parts    []string
	n        int    // samples of the native parts
	markdown bool   // rows for docs/performance.md
	picture  string // file for the picture of density
	inside   string // this is the KVM host: the part to measure here
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
	case err == nil && o.inside != "":
		err = insideMain(ctx, o.inside, os.Stdout)
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
	fs.StringVar(&o.picture, "picture", "bin/density.svg", "`file` for the picture of what VMs cost")
	fs.StringVar(&o.inside, "inside", "", "this is the KVM host: measure this `part` here, and print JSON")
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
		found, err := measure(ctx, part, o.n)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", part, err))
		}
		machine := found.machine
		for _, r := range found.rows {
			r.Part, r.Machine = part, machine.Name
			rows = append(rows, r)
		}
		if len(found.curves) > 0 {
			failed = append(failed, savePicture(o.picture, found.curves))
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
	return errors.Join(append(failed, ctx.Err())...)
}

// measure returns what one part found; after an error what was found by then.
func measure(ctx context.Context, part string, n int) (r result, err error) {
	r.machine = thisMachine("native")
	switch part {
	case "engine":
		r.rows, err = engineBench(n)
	case "process":
		r.rows, err = processBench(n)
	default:
		return guestBench(ctx, part)
	}
	return r, err
}

func savePicture(path string, curves []curve) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(drawCurves(f, "What idle Debian guests cost", curves), f.Close())
}
