package main

import (
	"github.com/spf13/cobra"

	"clone/internal/fork"
	"clone/internal/session"
)

func forkCommand() *cobra.Command {
	var f vmFlags
	var template string
	var verify bool
	cmd := &cobra.Command{
		Use:   "fork --template TEMPLATE [--detach]",
		Short: "Start a live copy of a template, with an identity of its own",
		Example: "  clone fork --template base --detach\n" +
			"  clone exec -- hostname",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.live(cmd, func() (session.Source, error) {
				disks, err := f.disks()
				if err != nil {
					return nil, err
				}
				store, err := openStore()
				if err != nil {
					return nil, err
				}
				return fork.Open(store, template, fork.Options{Hostname: f.guestHostname(), Disks: disks, Verify: verify})
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&template, "template", "", "the template to fork")
	cmd.Flags().BoolVar(&verify, "verify", false, "verify the template's checksums first")
	_ = cmd.MarkFlagRequired("template")
	return cmd
}
