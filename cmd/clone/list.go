package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/control"
)

func listCommand() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the VMs that run, and what they cost",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			registry, err := control.Open()
			if err != nil {
				return err
			}
			infos, listErr := registry.List() // what can be listed is, whatever else is wrong
			vms, measureErr := measure(cmd.Context(), registry, infos)
			if all {
				return errors.Join(listAll(cmd, registry, vms, asJSON), listErr, measureErr)
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), vms)
			} else {
				err = printTable(cmd.OutOrStdout(), vmRows(vms, time.Now()))
			}
			return errors.Join(err, listErr, measureErr)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "list those that have ended too, the last ones, with the reason")
	return cmd
}

func vmRows(vms []vmUsage, now time.Time) [][]string {
	rows := [][]string{{"ID", "NAME", "PID", "STATE", "UPTIME", "VCPUS", "MEM", "PRIVATE", "SHARED", "SWAPPED", "COST", "TEMPLATE"}}
	for _, vm := range vms {
		rows = append(rows, []string{
			vm.ID, vm.Name, strconv.Itoa(vm.PID), string(vm.State), ageText(now.Sub(vm.Created)),
			strconv.Itoa(vm.VCPUs), bytesText(vm.MemoryMiB << 20),
			bytesText(vm.Memory.Guest.Private + vm.Memory.Monitor.Private), bytesText(vm.Memory.Guest.Shared),
			bytesText(vm.Memory.Guest.Swapped + vm.Memory.Monitor.Swapped), bytesText(vm.Memory.Cost), vm.Template,
		})
	}
	return rows
}
