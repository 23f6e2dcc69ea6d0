package main

import (
	"time"

	"github.com/spf13/cobra"
)

// takeDuration takes the value of a flag whose value is optional out of the arguments: "--watch 5s" is a flag without a
// value, and an argument. A VM whose name looks like a duration can be named with --vm-id.
func takeDuration(cmd *cobra.Command, flag string, value *time.Duration, args []string) (rest []string) {
	if !cmd.Flags().Changed(flag) {
		return args
	}
	for _, a := range args {
		if d, err := time.ParseDuration(a); err == nil {
			*value = d
		} else {
			rest = append(rest, a)
		}
	}
	return rest
}
