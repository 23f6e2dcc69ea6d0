// Command runtests runs the project's tests in stages and ends with a line that
// counts them:
//
//	check   go vet, gofmt, and the unit tests, on this machine
//	host    the test host itself: ./test/hosttest
//	e2e     ./test/e2e on a KVM host: once on this machine where it is one, and
//	        otherwise in two emulated hosts at once, each running its shard
//
// A stage that fails does not keep the next from running. A skipped test is a
// failed one: what the tests need must be there.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// A suite is what all stages share.
type suite struct {
	timeout time.Duration // for each stage
	counts  counts
}

func main() {
	s := suite{}
	flag.DurationVar(&s.timeout, "timeout", 60*time.Minute, "how long each stage may take")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: runtests [flags] check|host|e2e...")
		flag.PrintDefaults()
	}
	flag.Parse()

	stages := map[string]func(context.Context) error{"check": s.check, "host": s.host, "e2e": s.e2e}
	for _, name := range flag.Args() {
		if stages[name] == nil {
			flag.Usage()
			os.Exit(2)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	failed := false
	for _, name := range flag.Args() {
		if ctx.Err() != nil {
			break
		}
		start := time.Now()
		fmt.Printf("== %s\n", name)
		if err := stages[name](ctx); err != nil {
			failed = true
			fmt.Printf("== %s: FAIL after %s: %v\n", name, time.Since(start).Round(time.Second), err)
		} else {
			fmt.Printf("== %s: ok, %s\n", name, time.Since(start).Round(time.Second))
		}
	}
	failed = failed || ctx.Err() != nil
	stop()
	fmt.Println(s.counts.summary())
	if failed || s.counts.bad() > 0 {
		os.Exit(1)
	}
}
