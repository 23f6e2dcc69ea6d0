package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/console"
	"clone/internal/session"
	"clone/internal/timing"
	"clone/internal/vmm"
)

// call is a fork as a function call: this process is the VM, for as long as one command takes in it. Its end, whatever
// the reason, is the fork's.
type call struct {
	command guestCommand
	signals *signals
	started func() os.Signal // ends the time in which a signal ends the VM; tells which did

	unseen *console.Stream
	ran    bool // the command is over, and status and err are its own
	status int
	err    error
}

// call runs a command in the VM that open brings, and returns with its exit status when the VM is gone.
func (f *vmFlags) call(cmd *cobra.Command, open func() (session.Source, error), command guestCommand) error {
	if err := f.limits.check(cmd); err != nil {
		return err
	}
	if f.limits.memory != 0 && !isSupervised() {
		return supervise()
	}
	c := &call{command: command, signals: catchSignals()}
	defer c.signals.stop()
	ctx, quit := context.WithCancel(cmd.Context())
	defer quit()
	c.started = c.signals.endBefore(quit)
	timing.Mark("command parsed")
	source, err := open()
	timing.Mark("source opened")
	if err == nil {
		useProcessors(source)
		err = c.live(ctx, source, f)
	}
	came := c.started()
	var own *exitError
	switch {
	case errors.As(err, &own):
		return err
	case c.ran && c.err == nil:
		return exitStatus(c.status)
	case came != nil:
		return failure(128+int(came.(syscall.Signal)), errors.New("interrupted before the command ran"))
	}
	return failure(statusExecFailure, err)
}

// live runs the VM, and the command when it is ready.
func (c *call) live(ctx context.Context, source session.Source, f *vmFlags) error {
	var end ending
	_, err := session.Run(ctx, source, session.Options{
		Name: f.name, Version: version, ReadyTimeout: f.timeout, Limits: f.limits.limits(), NoKSM: f.limits.ksm == "off", Call: true,
		Started: func(s *session.Session) { c.unseen = s.Console() },
		Ready: func(s *session.Session) {
			if f.timing {
				timing.Report(os.Stderr)
			}
			if c.started() == nil {
				c.run(ctx, s)
			}
			s.Finish()
		},
		End: func(out vmm.Outcome, err error) (int, string, string) {
			end = endOf(out, err, c.unseen)
			if c.ran && c.err == nil {
				return 0, "", "" // as it should be: nobody will ask
			}
			return end.status, end.reason, end.console
		},
	})
	switch {
	case err != nil:
		return err
	case c.err != nil:
		return c.err
	case !c.ran:
		return errors.New(end.reason)
	}
	return nil
}

const dialPatience = 10 * time.Second

// run runs the command, and gives it up where the guest ends under it.
func (c *call) run(ctx context.Context, s *session.Session) {
	ctx, lost := context.WithCancel(ctx)
	defer lost()
	go func() {
		select {
		case <-s.Done():
			lost()
		case <-ctx.Done():
		}
	}()
	dial, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	client, err := s.Agent(dial) // which has just answered
	if err == nil {
		command := c.command
		command.answered = sync.OnceFunc(s.Answered)
		c.status, err = runInGuest(ctx, client, command, c.signals)
		client.Close()
	}
	c.ran, c.err = true, err
	select {
	case <-s.Done():
		if err != nil {
			c.ran, c.err = false, nil // the guest's end says it better
		}
	default:
		if err != nil {
			c.err = fmt.Errorf("VM %s: %w", s.Info(), err)
		}
	}
}
