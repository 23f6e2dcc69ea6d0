package main

import (
	"github.com/spf13/cobra"

	"clone/internal/session"
)

func runCommand() *cobra.Command {
	var f vmFlags
	var r session.BootRequest
	var overlay string
	cmd := &cobra.Command{
		Use:   "run --kernel KERNEL (--rootfs IMAGE [--overlay] | --initrd INITRD)",
		Short: "Boot a virtual machine",
		Example: "  clone run --kernel vmlinuz --rootfs debian.ext4 --overlay --detach --name base\n" +
			"  clone exec -- uname -a",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return nil
			case cmd.Flags().Changed("overlay"):
				return usageErrorf("unexpected argument %q: what --overlay is to be follows an equals sign, as in --overlay=tmpfs", args[0])
			}
			return usageErrorf("unexpected argument %q: clone run takes flags only", args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.Rootfs == "" && r.Initrd == "" {
				return usageErrorf("say what the kernel boots into: --rootfs IMAGE (--overlay keeps it as it is) or --initrd INITRD")
			}
			return f.live(cmd, func() (session.Source, error) {
				switch overlay {
				case "":
				case "tmpfs", "auto":
					r.Overlay = true
				default:
					return nil, usageErrorf("--overlay=%s: the writable layer is in guest RAM: --overlay or --overlay=tmpfs", overlay)
				}
				r.Hostname = f.guestHostname()
				var err error
				if r.Disks, err = f.disks(); err != nil {
					return nil, err
				}
				return session.NewBoot(r)
			})
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&r.Kernel, "kernel", "", "the kernel: a bzImage or an ELF vmlinux")
	flags.StringVar(&r.KernelSHA256, "kernel-sha256", "", "refuse a kernel with another SHA-256")
	flags.StringVar(&r.Initrd, "initrd", "", "an initrd of your own, taken as it is")
	flags.StringVar(&r.InitrdSHA256, "initrd-sha256", "", "refuse an initrd with another SHA-256")
	flags.StringVar(&r.Modules, "modules", "", "the kernel's module directory (default: found beside the kernel or in /lib/modules)")
	flags.StringVar(&r.Rootfs, "rootfs", "", "image of the root file system, written to unless --overlay or ,ro")
	flags.StringVar(&overlay, "overlay", "", "open the root image read-only, and keep what the guest writes in its RAM")
	flags.Lookup("overlay").NoOptDefVal = "tmpfs"
	flags.StringVar(&r.Cmdline, "cmdline", "", "appended to the kernel command line")
	flags.Uint64Var(&r.MemoryMiB, "mem-mb", 512, "guest RAM in MiB")
	flags.IntVar(&r.VCPUs, "vcpus", 1, "virtual processors, 1 to 16")
	_ = cmd.MarkFlagRequired("kernel")
	return cmd
}
