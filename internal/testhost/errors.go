package testhost

import (
	"errors"
	"strings"
)

// ErrTimeout means that Config.Timeout passed before the command ended.
var ErrTimeout = errors.New("timed out")

// HostError means that the host failed, not the command: it could not be
// started, or died before the command ended.
type HostError struct {
	Err     error
	Console string // the last lines of the emulated host's kernel console, if it got that far
}

func (e *HostError) Error() string {
	if e.Console == "" {
		return "test host: " + e.Err.Error()
	}
	return "test host: " + e.Err.Error() + "; its console ends with:\n" + e.Console
}

func (e *HostError) Unwrap() error { return e.Err }

// consoleTail returns the last n lines of a console log, without the control
// sequences and other bytes that would disturb a terminal.
func consoleTail(log []byte, n int) string {
	clean := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || (r >= ' ' && r < 0x7f) {
			return r
		}
		return -1
	}, string(log))
	lines := strings.Split(strings.TrimSpace(clean), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
