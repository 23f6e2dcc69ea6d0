package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// commands are the subcommands, in the order of clone's help.
func commands() []*cobra.Command {
	return []*cobra.Command{
		runCommand(),
		forkCommand(),
		snapshotCommand(),
		execCommand(),
		attachCommand(),
		listCommand(),
		statusCommand(),
		destroyCommand(),
		pruneCommand(),
		templateCommand(),
		rootfsCommand(),
		doctorCommand(),
		versionCommand(),
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "clone",
		Short:         "Run Linux virtual machines, and fork them in milliseconds",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageErrorf("say what to do: see clone --help")
		},
	}
	root.AddCommand(commands()...)
	return root
}

func main() {
	err := execute(rootCommand(), os.Args[1:])
	if message := messageOf(err); message != "" {
		fmt.Fprintln(os.Stderr, "clone: "+message)
	}
	os.Exit(statusOf(err))
}
