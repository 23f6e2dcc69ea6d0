package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses. clone exec has those of the guest's command besides.
const (
	statusFailure     = 1
	statusUsage       = 2
	statusExecFailure = 125 // clone exec itself failed, as docker exec says it
)

// exitError is an error with an exit status of its own.
type exitError struct {
	status int
	err    error // nil: nothing needs to be said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitStatus is the result of a command that has said what there is to say; nil for status 0.
func exitStatus(status int) error {
	if status == 0 {
		return nil
	}
	return &exitError{status: status}
}

// failure gives an error an exit status.
func failure(status int, err error) error { return &exitError{status, err} }

// usageErrorf is a fault of the command line that only a command's own code can see.
func usageErrorf(format string, args ...any) error {
	return failure(statusUsage, fmt.Errorf(format, args...))
}

// execute runs the command line. What cobra itself objects to is a usage error; what a command returns is a failure, or
// has its own status.
func execute(root *cobra.Command, args []string) error {
	ran := false
	markRun(root, &ran)
	root.SetArgs(args)
	err := root.Execute()
	var own *exitError
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case ran:
		return failure(statusFailure, err)
	}
	return failure(statusUsage, err)
}

// markRun makes every command note that its own code was reached.
func markRun(cmd *cobra.Command, ran *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*ran = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		markRun(sub, ran)
	}
}

// statusOf is the exit status for execute's result.
func statusOf(err error) int {
	var own *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return own.status
	}
	return statusFailure
}

// messageOf is what execute's result has to say, on one line.
func messageOf(err error) string {
	var own *exitError
	if err == nil || errors.As(err, &own) && own.err == nil {
		return ""
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
