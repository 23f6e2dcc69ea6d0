package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/snapshot"
)

// openStore opens the store of templates in CLONE_HOME.
func openStore() (*snapshot.Store, error) { return snapshot.OpenStore(os.Getenv("CLONE_HOME")) }

func templateCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "template", Short: "List, verify, flatten and remove templates", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usageErrorf("say what to do: see clone template --help") }}
	cmd.AddCommand(templateListCommand(), templateVerifyCommand(), templateFlattenCommand(), templateRemoveCommand())
	return cmd
}

// templateLine is one template as --json prints it.
type templateLine struct {
	Name        string    `json:"name"`
	Created     time.Time `json:"created,omitzero"`
	MemoryMiB   uint64    `json:"memory_mib,omitempty"`
	StoredBytes uint64    `json:"stored_bytes,omitempty"` // its own: those of its parents are theirs
	VCPUs       int       `json:"vcpus,omitempty"`
	ID          string    `json:"id,omitempty"`
	Parent      string    `json:"parent,omitempty"` // name of the template it builds on
	Error       string    `json:"error,omitempty"`  // why it cannot be used
}

func templateListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the templates", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			entries, err := store.List()
			if err != nil {
				return err
			}
			lines := []templateLine{}
			rows := [][]string{{"NAME", "CREATED", "MEM", "STORED", "VCPUS", "PARENT", "ERROR"}}
			for _, e := range entries {
				l := templateLine{Name: e.Name}
				row := []string{e.Name, "", "", "", "", "", ""}
				if m := e.Manifest; m != nil {
					l = templateLine{e.Name, m.Created, m.Config.MemoryMiB, m.Memory.StoredBytes, m.Config.VCPUs, m.ID, "", ""}
					if m.Parent != nil {
						l.Parent = m.Parent.Name
					}
					row = []string{e.Name, ageText(time.Since(m.Created)) + " ago", bytesText(m.Memory.SizeBytes),
						bytesText(m.Memory.StoredBytes), fmt.Sprint(m.Config.VCPUs), l.Parent, ""}
				}
				if e.Err != nil {
					l.Error, row[6] = e.Err.Error(), e.Err.Error()
				}
				lines, rows = append(lines, l), append(rows, row)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), lines)
			}
			return printTable(cmd.OutOrStdout(), rows)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func templateVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify NAME", Short: "Read a whole template, and those it builds on, and compare the checksums", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			t, err := store.Open(args[0])
			if err != nil {
				return err
			}
			defer t.Close()
			if err := t.Verify(verifyProgress(cmd)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "template %s is whole\n", args[0])
			return err
		},
	}
}

// verifyProgress prints once a second how far it is.
func verifyProgress(cmd *cobra.Command) func(done, total uint64) {
	shown := time.Now()
	return func(done, total uint64) {
		if time.Since(shown) > time.Second {
			shown = time.Now()
			fmt.Fprintf(cmd.ErrOrStderr(), "verify: %s of %s\n", bytesText(done), bytesText(total))
		}
	}
}

func templateFlattenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "flatten NAME", Short: "Make a template that builds on others stand alone; forks and templates that build on it go on",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			if err := store.Flatten(ctx, args[0], verifyProgress(cmd)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "template %s stands alone\n", args[0])
			return err
		},
	}
}

func templateRemoveCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm NAME...", Aliases: []string{"remove"}, Short: "Remove templates; running forks go on", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			return store.Remove(args, force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "remove also what other templates build on, which are useless then")
	return cmd
}
