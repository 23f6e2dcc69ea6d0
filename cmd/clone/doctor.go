package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// state is what was found out about one thing.
type state string

const (
	stateOK      state = "ok"
	stateWarn    state = "warn"    // something is slower, or a feature is not there
	stateMissing state = "missing" // no VM can run
)

// finding is the result of one check.
type finding struct {
	Name   string `json:"name"`
	State  state  `json:"state"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // what to do; empty where nothing need be done
}

// host is the machine under examination. Everything is read below root, which is "" but in tests.
type host struct{ root string }

func (h host) path(p string) string { return filepath.Join("/", h.root, p) }

// read returns a file's content without space around it, and "" where it cannot be read.
func (h host) read(p string) string {
	b, err := os.ReadFile(h.path(p))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (h host) exists(p string) bool {
	_, err := os.Stat(h.path(p))
	return err == nil
}

// opens returns why a device cannot be opened for reading and writing, nil where it can.
func (h host) opens(p string) error {
	f, err := os.OpenFile(h.path(p), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// examine makes all checks, the needed things first.
func (h host) examine() []finding {
	checks := []func() finding{
		h.processor, h.kvm, h.kernel, h.memory, h.runtimeDirectory,
		h.vhostVsock, h.vhostNet, h.tun, h.userfaultfd,
		h.ksm, h.hugePages, h.overcommit, h.cgroup, h.debootstrap, h.mke2fs,
	}
	findings := make([]finding, 0, len(checks))
	for _, check := range checks {
		findings = append(findings, check())
	}
	return findings
}

// diagnosis is what clone doctor prints.
type diagnosis struct {
	OK     bool      `json:"ok"` // nothing is missing: VMs can run
	Checks []finding `json:"checks"`
}

func doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this host offers, what it lacks, and how to get it",
		Long: "Tell what this host offers, what it lacks, and how to get it. The exit status is 1 where something is missing without\n" +
			"which no VM can run.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := diagnose(host{}.examine())
			if asJSON {
				if err := printJSON(cmd.OutOrStdout(), d); err != nil {
					return err
				}
			} else if err := printTable(cmd.OutOrStdout(), findingRows(d.Checks)); err != nil {
				return err
			}
			if !d.OK {
				return fmt.Errorf("this host cannot run VMs as it is: see what is missing above")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func diagnose(findings []finding) diagnosis {
	d := diagnosis{OK: true, Checks: findings}
	for _, f := range findings {
		d.OK = d.OK && f.State != stateMissing
	}
	return d
}

func findingRows(findings []finding) [][]string {
	rows := [][]string{{"STATE", "WHAT", "FOUND"}}
	for _, f := range findings {
		rows = append(rows, []string{string(f.State), f.Name, f.Detail})
		if f.Remedy != "" {
			rows = append(rows, []string{" ", " ", "→ " + f.Remedy})
		}
	}
	return rows
}
