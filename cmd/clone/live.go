package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/config"
	"clone/internal/console"
	"clone/internal/session"
	"clone/internal/timing"
	"clone/internal/vmm"
)

// vmFlags are what run and fork have in common.
type vmFlags struct {
	name, hostname string
	detach, timing bool
	timeout        time.Duration
	blocks         []string
	limits         limitFlags
}

func (f *vmFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name of the VM among those that run")
	flags.StringVar(&f.hostname, "hostname", "", "host name in the guest (default: the VM's name, else clone-XXXXXXXX)")
	flags.BoolVarP(&f.detach, "detach", "d", false, "return once the guest's agent answered, and print the VM's id")
	flags.DurationVar(&f.timeout, "ready-timeout", 2*time.Minute, "how long the guest's agent may take to answer")
	flags.BoolVar(&f.timing, "timing", false, "tell on standard error when each step on the way to readiness was reached")
	flags.StringArrayVar(&f.blocks, "block", nil, "a further disk: IMAGE or IMAGE,ro (repeatable)")
	f.limits.add(cmd)
}

func (f *vmFlags) guestHostname() string {
	if f.hostname != "" {
		return f.hostname
	}
	return f.name
}

// live runs the VM that open brings, here or detached.
func (f *vmFlags) live(cmd *cobra.Command, open func() (session.Source, error)) error {
	if err := f.limits.check(cmd); err != nil {
		return err
	}
	report, supervised := detachedReport(), isSupervised()
	if f.detach && report == nil {
		return f.spawn(cmd)
	}
	if f.limits.memory != 0 && report == nil && !supervised {
		return supervise()
	}
	timing.Mark("command parsed")
	source, err := open()
	timing.Mark("source opened")
	if err == nil {
		err = f.session(cmd, source, report)
	}
	if report != nil {
		return report.failed(err)
	}
	return err
}

func (f *vmFlags) session(cmd *cobra.Command, source session.Source, report *report) error {
	useProcessors(source)
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	var shown chan struct{}    // closed when the console has shown everything
	var unseen *console.Stream // the console of a detached VM
	opts := session.Options{
		Name: f.name, Version: version, ReadyTimeout: f.timeout, Limits: f.limits.limits(), NoKSM: f.limits.ksm == "off",
	}
	if report != nil {
		report.abandoned(quit)
		opts.Started = func(s *session.Session) { unseen = s.Console() }
	} else {
		opts.Started = func(s *session.Session) {
			shown = make(chan struct{})
			stream := s.Console()
			go func() {
				defer close(shown)
				if end, _ := console.Connect(context.Background(), stream, os.Stdin, os.Stdout); end == console.Detached {
					fmt.Fprintf(os.Stderr, "\r\nshutting the guest down; `clone destroy --force %s` ends it at once\r\n", s.Info().ID)
					quit()
				}
			}()
		}
	}
	opts.Ready = func(s *session.Session) {
		if f.timing {
			timing.Report(os.Stderr)
		}
		if report != nil {
			if report.ready(s.Info().ID, s.LogPath()) != nil {
				quit() // whoever asked for this VM has gone without learning its id
			}
		}
	}
	var end ending
	opts.End = func(out vmm.Outcome, err error) (int, string, string) {
		end = endOf(out, err, unseen)
		return end.status, end.reason, end.console
	}
	outcome, err := session.Run(ctx, source, opts)
	if shown != nil {
		<-shown
	}
	switch {
	case err != nil && end.reason == "": // there was no VM
		return err
	case err != nil:
		return failure(end.status, errors.New(end.reason))
	case outcome.Kind == vmm.PowerOff:
		return nil
	case unseen != nil:
		end.reason += "; without --detach the console is shown"
	}
	return failure(end.status, errors.New(end.reason))
}

// useProcessors gives the runtime a thread for each vCPU: that sits in KVM_RUN, which the runtime counts as running Go code
// for a while.
func useProcessors(source session.Source) {
	runtime.GOMAXPROCS(max(runtime.NumCPU(), source.Config().VCPUs+2))
}

// disks reads the --block flags.
func (f *vmFlags) disks() ([]config.Disk, error) {
	var disks []config.Disk
	for _, b := range f.blocks {
		d, err := config.ParseDisk(b)
		if err != nil {
			return nil, usageErrorf("--block %s: %v", b, err)
		}
		disks = append(disks, d)
	}
	return disks, nil
}
