package main

import (
	"io"

	"clone/internal/console"
	"clone/internal/control"
	"clone/internal/vmm"
)

// Exit statuses of run and fork besides 0 (the guest powered off) and 1 (clone failed).
const (
	statusReboot      = 3 // the guest asked for a reset, as after a panic
	statusTripleFault = 4
	statusLimit       = 6 // the VM reached its memory limit (--mem-max)
	statusStopped     = 5 // ended from outside: clone destroy --force, or a signal it did not react to
)

// ending is how a VM's end is told: the exit status of its process, and the reason on one line.
type ending struct {
	status  int
	reason  string
	console string // the end of what the guest printed, where nobody saw it and it matters
}

// endOf tells a session's end. It quotes the console of a VM that nobody saw, where the guest may have said why.
func endOf(out vmm.Outcome, err error, unseen *console.Stream) ending {
	var e ending
	switch {
	case err != nil:
		e = ending{status: statusOf(err), reason: messageOf(err)}
	case out.Kind == vmm.PowerOff:
		return ending{reason: "the guest powered off"}
	case out.Kind == vmm.Reboot:
		e = ending{status: statusReboot, reason: "the guest asked for a reset (reboot or panic)"}
	case out.Kind == vmm.TripleFault:
		e = ending{status: statusTripleFault, reason: "the guest's processor shut down (triple fault)"}
	default:
		return ending{status: statusStopped, reason: "the VM was stopped"}
	}
	if unseen != nil {
		said, _ := io.ReadAll(unseen) // ends: the machine has
		e.console = string(said[max(0, len(said)-control.MaxConsole):])
		if words := lastWords(string(said)); words != "" {
			e.reason += "; on its console: " + words
		}
	}
	return e
}
