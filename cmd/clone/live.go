package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/config"
	"clone/internal/console"
	"clone/internal/session"
	"clone/internal/timing"
	"clone/internal/vmm"
)

// Exit statuses of run and fork besides 0 (the guest powered off) and 1 (clone failed).
const (
	statusReboot      = 3 // the guest asked for a reset, as after a panic
	statusTripleFault = 4
	statusLimit       = 6 // the VM reached its memory limit (--mem-max)
	statusStopped     = 5 // ended from outside: clone destroy --force, or a signal it did not react to
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
		report.failed(err)
	}
	return err
}

func (f *vmFlags) session(cmd *cobra.Command, source session.Source, report *report) error {
	// A vCPU thread sits in KVM_RUN, which the runtime counts as running Go code for a while.
	runtime.GOMAXPROCS(max(runtime.NumCPU(), source.Config().VCPUs+2))
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	var shown chan struct{}    // closed when the console has shown everything
	var unseen *console.Stream // the console of a detached VM
	opts := session.Options{
		Name: f.name, Version: version, ReadyTimeout: f.timeout, Limits: f.limits.limits(), NoKSM: f.limits.ksm == "off",
	}
	if report != nil {
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
			report.ready(s.Info().ID)
		}
	}
	outcome, err := session.Run(ctx, source, opts)
	if shown != nil {
		<-shown
	}
	if err != nil {
		return err
	}
	return endOf(outcome, unseen)
}

// endOf is how the guest's end is told. The message quotes the console of a VM that nobody saw.
func endOf(outcome vmm.Outcome, unseen *console.Stream) error {
	status, message := statusStopped, "the VM was stopped"
	switch outcome.Kind {
	case vmm.PowerOff:
		return nil
	case vmm.Reboot:
		status, message = statusReboot, "the guest asked for a reset (reboot or panic)"
	case vmm.TripleFault:
		status, message = statusTripleFault, "the guest's processor shut down (triple fault)"
	}
	if unseen != nil {
		said, _ := io.ReadAll(unseen) // ends: the machine has
		if words := lastWords(string(said)); words != "" {
			message += "; on its console: " + words
		}
		message += "; without --detach the console is shown"
	}
	return failure(status, errors.New(message))
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
