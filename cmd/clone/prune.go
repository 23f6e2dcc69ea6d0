package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"clone/internal/control"
)

// pruned is one thing that clone prune has removed.
type pruned struct {
	Kind string `json:"kind"`             // "vm", "name", "record", "template" or "note"
	Name string `json:"name"`             // a VM's id, else what it was called
	Why  string `json:"reason,omitempty"` // one line
}

func pruneCommand() *cobra.Command {
	var asJSON, ended bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what dead VMs and killed commands have left",
		Long: "Remove what dead VMs and killed commands have left, and say what: directories, names and sockets of dead VMs, templates that\n" +
			"were never finished or only half removed, and notes of templates that are gone. Nothing that lives is touched, and\n" +
			"no finished template. Other commands remove by themselves what is in their way.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			gone, err := prune(ended)
			if asJSON {
				return errors.Join(printJSON(cmd.OutOrStdout(), gone), err)
			}
			for _, p := range gone {
				line := p.Kind + " " + p.Name
				if p.Why != "" {
					line += ": " + p.Why
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return err
				}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&ended, "ended", false, "forget too how VMs have ended")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// prune removes what can be removed, whatever else is wrong.
func prune(ended bool) ([]pruned, error) {
	gone := []pruned{}
	add := func(kind string, names []string, why string) {
		for _, name := range names {
			gone = append(gone, pruned{kind, name, why})
		}
	}
	registry, err := control.Open()
	if err != nil {
		return gone, err
	}
	vms, vmErr := registry.Prune()
	for _, e := range vms.VMs {
		gone = append(gone, pruned{"vm", e.Info.String(), e.Reason})
	}
	add("name", vms.Names, "it led to no VM")

	vmErr = errors.Join(vmErr, registry.ReapGroups())

	store, storeErr := openStore()
	if storeErr == nil {
		t, err := store.Prune()
		add("template", t.Aside, "never finished, or half removed")
		add("note", t.Notes, "its template is gone")
		storeErr = err
	}
	if ended {
		n, err := registry.Forget()
		if n > 0 {
			gone = append(gone, pruned{"record", fmt.Sprint(n), "VMs that had ended are forgotten"})
		}
		vmErr = errors.Join(vmErr, err)
	}
	return gone, errors.Join(vmErr, storeErr)
}
