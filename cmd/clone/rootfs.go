package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"clone/internal/rootfs"
)

func rootfsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rootfs", Short: "Build root file systems", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usageErrorf("say what to do: see clone rootfs --help") }}
	cmd.AddCommand(rootfsCreateCommand())
	return cmd
}

func rootfsCreateCommand() *cobra.Command {
	var o rootfs.Options
	var sizeMiB int64
	var quiet bool
	cmd := &cobra.Command{
		Use:   "create (--from-dir DIR | --distro debian) -o IMAGE",
		Short: "Build an ext4 image from a directory or a distribution",
		Example: "  clone rootfs create --distro debian -o debian.ext4\n" +
			"  clone rootfs create --from-dir ./tree -o tree.ext4",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			o.SizeBytes = sizeMiB << 20
			progress := func(e rootfs.Event) {
				if !quiet {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", e.Step, e.Detail)
				}
			}
			if err := rootfs.Create(ctx, o, progress); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), o.Output)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Output, "output", "o", "", "the image to write")
	f.StringVar(&o.FromDir, "from-dir", "", "take the content of this directory")
	f.StringVar(&o.Distro, "distro", "", "install this distribution: debian")
	f.StringVar(&o.Suite, "suite", "", "its release (default "+rootfs.DefaultSuite+")")
	f.StringVar(&o.Mirror, "mirror", "", "URL of its archive (default: debootstrap's own)")
	f.StringSliceVar(&o.Include, "include", nil, "further packages, separated by commas")
	f.Int64Var(&sizeMiB, "size-mb", 0, "size of the file system in MiB (default: the content and 512 MiB)")
	f.BoolVarP(&o.Replace, "force", "f", false, "replace an image that exists")
	f.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	_ = cmd.MarkFlagRequired("output")
	return cmd
}
