package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"clone/internal/console"
	"clone/internal/control"
)

func attachCommand() *cobra.Command {
	var ref string
	cmd := &cobra.Command{
		Use:   "attach [VM]",
		Short: "Attach this terminal to a VM's serial console; Ctrl-Q detaches",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := vmRef(ref, args)
			if err != nil {
				return err
			}
			registry, info, err := findVM(ref)
			if err != nil {
				return err
			}
			return attach(cmd.Context(), registry, info)
		},
	}
	addVMFlag(cmd, &ref)
	return cmd
}

func attach(ctx context.Context, registry *control.Registry, info control.Info) error {
	// A signal must not kill the process while the terminal is raw.
	ctx, stop := untilSignal(ctx, unix.SIGQUIT)
	defer stop()
	stream, err := control.NewClient(registry.ControlSocket(info.ID)).Console(ctx)
	if err != nil {
		return fmt.Errorf("attaching to VM %s: %w", info, err)
	}
	fmt.Fprintf(os.Stderr, "clone: attached to VM %s; Ctrl-Q detaches\n", info)
	end, err := console.Connect(ctx, stream, os.Stdin, os.Stdout)
	if err != nil {
		return err
	}
	switch end {
	case console.Detached:
		fmt.Fprintf(os.Stderr, "\nclone: detached; VM %s goes on\n", info)
	case console.Ended:
		why := whyEnded(registry, info)
		if why != "" {
			why = ": " + why
		}
		fmt.Fprintf(os.Stderr, "\nclone: VM %s has ended%s\n", info, why)
	case console.Interrupted:
		return failure(128+int(unix.SIGINT), fmt.Errorf("interrupted; VM %s goes on", info))
	}
	return nil
}
