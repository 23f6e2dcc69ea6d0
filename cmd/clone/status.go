package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/control"
)

// vmStatus is what clone status prints of one VM.
type vmStatus struct {
	vmUsage
	Answers bool `json:"answers"` // its process answers on the control socket
}

// statusRequest is what clone status is asked.
type statusRequest struct {
	ref    string // the VM; "" for all
	asJSON bool
	every  time.Duration // between two printings; 0 prints once
}

func statusCommand() *cobra.Command {
	var req statusRequest
	cmd := &cobra.Command{
		Use:   "status [VM]",
		Short: "Show the memory that VMs cost: one, or all and the host",
		Long: "Show one VM and what it costs, or, where none is named and several run, all of them, their sum, and the host's memory.\n" +
			"With --json, one VM that is named is an object of its own; else there is an object with vms, total and host.",
		Example: "  clone status web\n  clone status --watch 5s",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			args = takeDuration(cmd, "watch", &req.every, args)
			if err := req.check(cmd, args); err != nil {
				return err
			}
			var err error
			if req.ref, err = vmRef(req.ref, args); err != nil {
				return err
			}
			if req.every != 0 {
				return watch(cmd, req.every, req.print)
			}
			return req.print(cmd.Context(), cmd.OutOrStdout())
		},
	}
	addVMFlag(cmd, &req.ref)
	cmd.Flags().BoolVar(&req.asJSON, "json", false, "print a JSON object")
	cmd.Flags().DurationVar(&req.every, "watch", 0, "print again every `INTERVAL` (2s where none is given) until Ctrl-C")
	cmd.Flags().Lookup("watch").NoOptDefVal = watchEvery.String()
	return cmd
}

// check finds what is wrong on the command line.
func (r *statusRequest) check(cmd *cobra.Command, vms []string) error {
	if len(vms) > 1 {
		return usageErrorf("two VMs are named: %s and %s; without one, all are shown", vms[0], vms[1])
	}
	if cmd.Flags().Changed("watch") && (r.every < leastWatch || r.every > 24*time.Hour) {
		return usageErrorf("--watch takes %v to 24h", leastWatch)
	}
	return nil
}

func (r *statusRequest) print(ctx context.Context, w io.Writer) error {
	registry, err := control.Open()
	if err != nil {
		return err
	}
	if r.ref != "" {
		info, err := registry.Find(r.ref)
		if err != nil {
			return err
		}
		return r.printOne(ctx, w, registry, info)
	}
	o, err := overviewOf(ctx, registry)
	if err != nil && len(o.VMs) == 0 {
		return err
	}
	switch {
	case len(o.VMs) == 0 && r.every == 0:
		_, none := registry.Find("")
		return none
	case r.asJSON:
		return errors.Join(r.encode(w, o), err)
	case len(o.VMs) == 1 && err == nil:
		return r.printOne(ctx, w, registry, o.VMs[0].Info)
	}
	return errors.Join(printTable(w, overviewRows(o)), printSummary(w, o), err)
}

func (r *statusRequest) printOne(ctx context.Context, w io.Writer, registry *control.Registry, info control.Info) error {
	status, err := statusOfVM(ctx, registry, info)
	switch {
	case err != nil:
		return err
	case r.asJSON:
		return r.encode(w, status)
	}
	return printTable(w, statusRows(status))
}

// encode prints a document; while watching, each on a line of its own.
func (r *statusRequest) encode(w io.Writer, v any) error {
	if r.every != 0 {
		return json.NewEncoder(w).Encode(v)
	}
	return printJSON(w, v)
}

// statusPatience is how long a VM's process may take to answer: one that hangs has a status too.
const statusPatience = 2 * time.Second

func statusOfVM(ctx context.Context, registry *control.Registry, info control.Info) (s vmStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	s.Info = info
	live, err := control.NewClient(registry.ControlSocket(info.ID)).Info(ctx)
	switch {
	case err == nil:
		s.Info, s.Answers = live, true
	case errors.Is(err, control.ErrGone):
		return s, err
	}
	s.UptimeSeconds = time.Since(info.Created).Seconds()
	m, err := control.MemoryOf(s.Info)
	s.Memory = usageOf(m)
	return s, err
}

func statusRows(s vmStatus) [][]string {
	answers := "yes"
	if !s.Answers {
		answers = "no: its process is starting, or hangs"
	}
	m := s.Memory
	rows := [][]string{
		{"ID:", s.ID},
		{"Name:", s.Name},
		{"PID:", strconv.Itoa(s.PID)},
		{"State:", string(s.State)},
		{"Answers:", answers},
		{"Created:", s.Created.Format(time.RFC3339)},
		{"Uptime:", ageText(time.Duration(s.UptimeSeconds * float64(time.Second)))},
		{"Template:", s.Template},
		{"VCPUs:", strconv.Itoa(s.VCPUs)},
		{"Vsock CID:", strconv.FormatUint(uint64(s.CID), 10)},
		{"UUID:", s.UUID},
		{"Version:", s.Version},
	}
	if s.MemMax != 0 {
		rows = append(rows, []string{"Memory limit:", bytesText(s.MemMax)})
	}
	if s.CPUMax != 0 {
		rows = append(rows, []string{"CPU limit:", strconv.FormatFloat(s.CPUMax, 'g', -1, 64) + " processors"})
	}
	return append(rows,
		[]string{"Guest RAM:", bytesText(s.MemoryMiB << 20)},
		[]string{"- touched:", bytesText(m.Guest.Resident)},
		[]string{"- private:", bytesText(m.Guest.Private) + " (changed by this VM)"},
		[]string{"- shared:", bytesText(m.Guest.Shared) + " (this VM's part: " + bytesText(m.Guest.Proportional-min(m.Guest.Proportional, m.Guest.Private)) + ")"},
		[]string{"- merged:", bytesText(m.Guest.Merged) + " (by KSM)"},
		[]string{"Swapped:", bytesText(m.Guest.Swapped + m.Monitor.Swapped)},
		[]string{"Monitor:", bytesText(m.Monitor.Private) + " (private memory of the VM's process beside guest RAM)"},
		[]string{"Page tables:", bytesText(m.PageTables)},
		[]string{"Kernel:", bytesText(m.Kernel.Bytes) + " (" + sourceText(m.Kernel.Source) + ")"},
		[]string{"Cost:", bytesText(m.Cost) + " (what the host would get back if this VM ended)"},
	)
}

func sourceText(s control.KernelSource) string {
	if s == control.Measured {
		return "counted by its control group"
	}
	return "an estimate: the VM has no control group"
}

func overviewRows(o overview) [][]string {
	rows := [][]string{{"ID", "NAME", "STATE", "RAM", "TOUCHED", "PRIVATE", "SHARED", "SWAPPED", "MONITOR", "TABLES", "KERNEL", "COST"}}
	line := func(id, name, state string, ram uint64, u usage) {
		kernel := bytesText(u.Kernel.Bytes)
		if u.Kernel.Source == control.Estimated {
			kernel = "~" + kernel
		}
		rows = append(rows, []string{
			id, name, state, bytesText(ram), bytesText(u.Guest.Resident), bytesText(u.Guest.Private), bytesText(u.Guest.Shared),
			bytesText(u.Guest.Swapped + u.Monitor.Swapped), bytesText(u.Monitor.Private), bytesText(u.PageTables), kernel, bytesText(u.Cost),
		})
	}
	for _, vm := range o.VMs {
		line(vm.ID, vm.Name, string(vm.State), vm.MemoryMiB<<20, vm.Memory)
	}
	line("total", "", "", o.Total.Configured, o.Total.Memory)
	return rows
}

// printSummary says what the table means for the host.
func printSummary(w io.Writer, o overview) error {
	_, err := fmt.Fprintf(w, "\n%d VMs cost %s; without sharing the RAM they touched would be %s, and they were promised %s.\n"+
		"The host has %s of memory, %s available. A kernel figure with ~ is an estimate.\n",
		o.Total.VMs, bytesText(o.Total.Memory.Cost), bytesText(o.Total.Unshared), bytesText(o.Total.Configured),
		bytesText(o.Host.Total), bytesText(o.Host.Available))
	return err
}
