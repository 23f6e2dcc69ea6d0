package main

import (
	"os"
	"slices"

	"github.com/spf13/cobra"

	"clone/internal/fork"
	"clone/internal/session"
)

func forkCommand() *cobra.Command {
	var f vmFlags
	var several many
	var command guestCommand
	var template string
	var verify bool
	isCall := false
	open := func() (session.Source, error) {
		disks, err := f.disks()
		if err != nil {
			return nil, err
		}
		store, err := openStore()
		if err != nil {
			return nil, err
		}
		return fork.Open(store, template, fork.Options{Hostname: f.guestHostname(), Disks: disks, Verify: verify, Call: isCall})
	}
	cmd := &cobra.Command{
		Use:   "fork --template TEMPLATE [--detach | --count N | -- COMMAND [ARG...]]",
		Short: "Start a live copy of a template, with an identity of its own",
		Long: "Start a live copy of a template, with an identity of its own.\n\n" +
			"With a command it is a function call: the fork runs the command, with its output here as it comes, and is gone when\n" +
			"that is over. The exit status is the command's, as with clone exec; 125 means that clone could not run it.",
		Example: "  clone fork --template base --detach\n" +
			"  clone fork --template base --count 10 --name web\n" +
			"  echo hello | clone fork --template base -- wc -c",
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); len(args) > 0 && dash != 0 {
				return usageErrorf("unexpected argument %q: a command follows --", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed
			counted := given("count") || given("parallel")
			isCall = cmd.ArgsLenAtDash() == 0
			switch {
			case isCall && (f.detach || counted):
				return usageErrorf("a command excludes --detach and --count: the fork lives as long as the command")
			case isCall && (len(args) == 0 || args[0] == ""):
				return usageErrorf("say what to run: clone fork --template TEMPLATE -- COMMAND [ARG...]")
			case isCall:
				return f.call(cmd, open, command.with(args))
			case slices.ContainsFunc(commandFlags, given):
				return usageErrorf("--interactive, --tty, --env, --workdir and --user are for a command: clone fork --template TEMPLATE -- COMMAND [ARG...]")
			case counted && os.Getenv(reportVariable) == "":
				if err := several.check(); err != nil {
					return err
				}
				if err := f.limits.check(cmd); err != nil {
					return err
				}
				source, err := open()
				if err != nil {
					return err
				}
				defer source.Close()
				return several.run(cmd, &f, source)
			}
			return f.live(cmd, open)
		},
	}
	f.add(cmd)
	several.add(cmd)
	command.add(cmd)
	cmd.Flags().StringVar(&template, "template", "", "the template to fork")
	cmd.Flags().BoolVar(&verify, "verify", false, "verify the template's checksums first")
	_ = cmd.MarkFlagRequired("template")
	return cmd
}
