package main

import (
	"github.com/spf13/cobra"

	"clone/internal/control"
)

// addVMFlag adds --vm-id, by which every command that is about one VM takes it.
func addVMFlag(cmd *cobra.Command, ref *string) {
	cmd.Flags().StringVar(ref, "vm-id", "", "the VM: its name, its id or a beginning of it, or its PID; needed where several run")
}

// vmRef is the VM that a command line names: by --vm-id, or by its only argument.
func vmRef(flag string, args []string) (string, error) {
	switch {
	case len(args) == 0:
		return flag, nil
	case len(args) > 1:
		return "", usageErrorf("two VMs are named: %s and %s", args[0], args[1])
	case flag != "" && flag != args[0]:
		return "", usageErrorf("two VMs are named: --vm-id %s and %s", flag, args[0])
	}
	return args[0], nil
}

// findVM looks up a VM; the empty ref is the only one that runs.
func findVM(ref string) (*control.Registry, control.Info, error) {
	registry, err := control.Open()
	if err != nil {
		return nil, control.Info{}, err
	}
	info, err := registry.Find(ref)
	return registry, info, err
}
