package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/control"
)

func snapshotCommand() *cobra.Command {
	var ref, name string
	var asJSON bool
	var settle time.Duration
	cmd := &cobra.Command{
		Use:   "snapshot [VM] --name TEMPLATE",
		Short: "Store a running VM as a template to fork from; the VM goes on",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if settle < 0 || settle > 24*time.Hour {
				return usageErrorf("--settle is 0s to 24h")
			}
			ref, err := vmRef(ref, args)
			if err != nil {
				return err
			}
			registry, info, err := findVM(ref)
			if err != nil {
				return err
			}
			store, err := openStore()
			if err != nil {
				return err
			}
			client := control.NewClient(registry.ControlSocket(info.ID))
			result, err := client.Snapshot(ctx, control.SnapshotRequest{Name: name, Dir: store.Root(), SettleSeconds: settle.Seconds()})
			if err != nil {
				return fmt.Errorf("snapshot of %s: %w", info, err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), result)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "stored %s in %v; the VM stood still for %v\n", bytesText(uint64(result.MemoryBytes)),
				time.Duration(result.TotalNanoseconds).Round(time.Millisecond), time.Duration(result.PauseNanoseconds).Round(time.Millisecond))
			_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
			return err
		},
	}
	addVMFlag(cmd, &ref)
	cmd.Flags().StringVar(&name, "name", "", "name of the new template")
	cmd.Flags().DurationVar(&settle, "settle", 0, "wait first until the guest has come to rest, so that its forks need not do what it is still doing; fail after this time")
	cmd.Flags().Lookup("settle").NoOptDefVal = "1m"
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}
