package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/control"
)

func snapshotCommand() *cobra.Command {
	var ref, name string
	var asJSON, full, incremental bool
	var settle time.Duration
	cmd := &cobra.Command{
		Use:   "snapshot [VM] --name TEMPLATE",
		Short: "Store a running VM as a template to fork from; the VM goes on",
		Long: "Store a running VM as a template to fork from; the VM goes on.\n\n" +
			"Of a fork only what differs from its template is stored, as a layer that needs that template; of any other VM\n" +
			"all of its memory. --incremental stores what differs from the template the VM was last stored as.",
		Args: cobra.ArbitraryArgs, // a VM and the time of --settle
		RunE: func(cmd *cobra.Command, args []string) error {
			args = takeDuration(cmd, "settle", &settle, args)
			ctx, stop := untilSignal(cmd.Context())
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
			result, err := client.Snapshot(ctx, control.SnapshotRequest{
				Name: name, Dir: store.Root(), Store: how(full, incremental), SettleSeconds: settle.Seconds(),
			})
			if err != nil {
				return fmt.Errorf("snapshot of %s: %w", info, err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), result)
			}
			over := ""
			if result.Parent != "" {
				over = " over template " + result.Parent
			}
			if result.Note != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "stored all of its memory: %s\n", result.Note)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "stored %s%s in %v; the VM stood still for %v\n", bytesText(uint64(result.MemoryBytes)), over,
				time.Duration(result.TotalNanoseconds).Round(time.Millisecond), time.Duration(result.PauseNanoseconds).Round(100*time.Microsecond))
			_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
			return err
		},
	}
	addVMFlag(cmd, &ref)
	cmd.Flags().StringVar(&name, "name", "", "name of the new template")
	cmd.Flags().DurationVar(&settle, "settle", 0, "wait first until the guest has come to rest, so that its forks need not do what it is still doing; fail after this time")
	cmd.Flags().Lookup("settle").NoOptDefVal = "1m"
	cmd.Flags().BoolVar(&incremental, "incremental", false, "store what differs from the template the VM was last stored as, or came from")
	cmd.Flags().BoolVar(&full, "full", false, "store all of its memory, so that the template stands alone")
	cmd.MarkFlagsMutuallyExclusive("incremental", "full")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}

func how(full, incremental bool) string {
	switch {
	case full:
		return control.StoreFull
	case incremental:
		return control.StoreIncremental
	}
	return control.StoreAuto
}
