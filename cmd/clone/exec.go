package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/agent"
	"clone/internal/agentproto"
	"clone/internal/control"
)

func execCommand() *cobra.Command {
	var ref string
	var req guestCommand
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "exec [flags] [VM] -- COMMAND [ARG...]",
		Short: "Run a command in a VM",
		Long: "Run a command in a VM, with its output here as it comes. The exit status is the command's: 128+n after signal n,\n" +
			"127 where there is no such command. 125 means that clone could not run it.\n\n" +
			"Standard input is passed on where it is not a terminal, and with -i or -t. Ctrl-C interrupts the command.",
		Example: "  clone exec -- uname -a\n  clone exec --vm-id web -t -- bash\n  echo hello | clone exec web -- wc -c",
		RunE: func(cmd *cobra.Command, args []string) error {
			target, command, err := splitExec(ref, args, cmd.ArgsLenAtDash())
			if err != nil {
				return err
			}
			status, err := execInVM(cmd.Context(), target, req.with(command), wait)
			if err != nil {
				return failure(statusExecFailure, err)
			}
			return exitStatus(status)
		},
	}
	addVMFlag(cmd, &ref)
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the first argument belongs to the command
	req.add(cmd)
	flags.DurationVar(&wait, "wait", 10*time.Second, "how long to wait for the guest's agent")
	return cmd
}

// splitExec takes the arguments apart into the VM, where one is named in front of "--", and the command. dash is the
// number of arguments before the first "--", -1 where flags ended without one.
func splitExec(flag string, args []string, dash int) (ref string, command []string, err error) {
	command = args
	if dash < 0 && len(args) > 1 && args[1] == "--" {
		if ref, err = vmRef(flag, args[:1]); err != nil {
			return "", nil, err
		}
		command = args[2:]
	} else {
		ref = flag
	}
	if len(command) == 0 || command[0] == "" {
		return "", nil, usageErrorf("say what to run: clone exec -- COMMAND [ARG...]")
	}
	return ref, command, nil
}

// execInVM runs the command and returns its exit status.
func execInVM(ctx context.Context, ref string, req guestCommand, wait time.Duration) (status int, err error) {
	registry, vm, err := findVM(ref)
	if err != nil {
		return 0, err
	}
	client, err := dialAgent(ctx, registry, vm, wait)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	signals := catchSignals() // first: none may kill this process while its terminal is raw
	defer signals.stop()
	status, err = runInGuest(ctx, client, req, signals)
	switch {
	case err == nil:
		return status, nil
	case client.Err() != nil:
		return 0, explainLoss(registry, vm, err)
	}
	return 0, fmt.Errorf("VM %s: %w", vm, err)
}

// dialAgent connects to the agent of a VM, waiting for it no longer than the VM lives.
func dialAgent(ctx context.Context, registry *control.Registry, vm control.Info, patience time.Duration) (*agent.Client, error) {
	gone := fmt.Errorf("VM %s: %w", vm, control.ErrGone)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	client, err := agent.DialWait(ctx, func(ctx context.Context) (net.Conn, error) {
		if alive, err := registry.Alive(vm.ID); err == nil && !alive {
			end(gone)
			return nil, gone
		}
		return agent.DialVsockUnix(ctx, registry.VsockSocket(vm.ID), agentproto.Port)
	})
	switch {
	case err == nil:
		return client, nil
	case errors.Is(context.Cause(ctx), control.ErrGone):
		return nil, gone
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("VM %s: the guest's agent did not answer within %v: the guest is still booting, is paused, or has no agent; "+
			"look with clone attach, or wait longer with --wait", vm, patience)
	}
	return nil, fmt.Errorf("VM %s: %w", vm, err)
}

// explainLoss says so where the connection to the guest was lost because its VM has ended.
func explainLoss(registry *control.Registry, vm control.Info, err error) error {
	if !awaitGone(registry, vm) {
		return fmt.Errorf("VM %s: %w; the VM goes on", vm, err)
	}
	err = fmt.Errorf("VM %s: %w: it ended while the command ran", vm, control.ErrGone)
	if end, ok := registry.EndOf(vm.ID, 0); ok {
		err = fmt.Errorf("%w: %s", err, end.Reason)
	}
	return err
}
