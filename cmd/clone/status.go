package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/control"
)

// vmStatus is what clone status prints.
type vmStatus struct {
	control.Info
	UptimeSeconds float64        `json:"uptime_seconds"`
	Answers       bool           `json:"answers"` // its process answers on the control socket
	Memory        control.Memory `json:"memory"`
}

func statusCommand() *cobra.Command {
	var ref string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [VM]",
		Short: "Show one VM, and the memory that it costs",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := vmRef(ref, args)
			if err != nil {
				return err
			}
			registry, info, err := findVM(ref)
			if err != nil {
				return err
			}
			status, err := statusOfVM(cmd.Context(), registry, info)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), status)
			}
			return printTable(cmd.OutOrStdout(), statusRows(status))
		},
	}
	addVMFlag(cmd, &ref)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// statusPatience is how long a VM's process may take to answer: one that hangs has a status too.
const statusPatience = 2 * time.Second

func statusOfVM(ctx context.Context, registry *control.Registry, info control.Info) (vmStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	status := vmStatus{Info: info}
	live, err := control.NewClient(registry.ControlSocket(info.ID)).Info(ctx)
	switch {
	case err == nil:
		status.Info, status.Answers = live, true
	case errors.Is(err, control.ErrGone):
		return status, err
	}
	status.UptimeSeconds = time.Since(info.Created).Seconds()
	status.Memory, err = control.MemoryOf(info.PID)
	return status, err
}

func statusRows(s vmStatus) [][]string {
	answers := "yes"
	if !s.Answers {
		answers = "no: its process is starting, or hangs"
	}
	return [][]string{
		{"ID:", s.ID},
		{"Name:", s.Name},
		{"PID:", strconv.Itoa(s.PID)},
		{"State:", string(s.State)},
		{"Answers:", answers},
		{"Created:", s.Created.Format(time.RFC3339)},
		{"Uptime:", ageText(time.Duration(s.UptimeSeconds * float64(time.Second)))},
		{"Template:", s.Template},
		{"VCPUs:", strconv.Itoa(s.VCPUs)},
		{"Guest RAM:", bytesText(s.MemoryMiB << 20)},
		{"Vsock CID:", strconv.FormatUint(uint64(s.CID), 10)},
		{"UUID:", s.UUID},
		{"Version:", s.Version},
		{"Private memory:", bytesText(s.Memory.PrivateDirty) + " (what this VM costs)"},
		{"Private, clean:", bytesText(s.Memory.PrivateClean)},
		{"Shared memory:", bytesText(s.Memory.Shared)},
		{"Swapped:", bytesText(s.Memory.Swapped)},
	}
}
