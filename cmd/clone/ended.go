package main

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/control"
)

// listAll prints the VMs that run and then those that have ended, the newest first.
func listAll(cmd *cobra.Command, registry *control.Registry, vms []vmUsage, asJSON bool) error {
	ended, err := registry.Ended()
	if err != nil {
		return err
	}
	if asJSON {
		all := make([]any, 0, len(vms)+len(ended)) // a live VM has no fields of an end
		for _, vm := range vms {
			all = append(all, vm)
		}
		for _, e := range ended {
			all = append(all, e)
		}
		return printJSON(cmd.OutOrStdout(), all)
	}
	now := time.Now()
	if err := printTable(cmd.OutOrStdout(), vmRows(vms, now)); err != nil || len(ended) == 0 {
		return err
	}
	if _, err := cmd.OutOrStdout().Write([]byte("\n")); err != nil {
		return err
	}
	return printTable(cmd.OutOrStdout(), endedRows(ended, now))
}

func endedRows(ended []control.Ended, now time.Time) [][]string {
	rows := [][]string{{"ID", "NAME", "PID", "STATE", "LIVED", "STATUS", "TEMPLATE", "REASON"}}
	for _, e := range ended {
		status := ""
		if e.Status != control.StatusUnknown {
			status = strconv.Itoa(e.Status)
		}
		rows = append(rows, []string{
			e.ID, e.Name, strconv.Itoa(e.PID), "ended " + ageText(now.Sub(e.Ended)) + " ago", ageText(e.Ended.Sub(e.Created)),
			status, e.Template, e.Reason,
		})
	}
	return rows
}
