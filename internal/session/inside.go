package session

import (
	"context"

	"clone/internal/agent"
	"clone/internal/control"
)

// What the VM's own process may do with its guest, without the sockets that others use.

// Agent connects to the guest's agent. The connection is to be closed before Options.Ready returns.
func (s *Session) Agent(ctx context.Context) (*agent.Client, error) {
	return agent.Dial(ctx, s.agentPort)
}

// Done is closed when the guest has ended.
func (s *Session) Done() <-chan struct{} { return s.machine.Done() }

// Finish ends the machine whose work is done: at once, unless the guest can write to a disk. Then it shuts down first, so that
// what it wrote is there.
func (s *Session) Finish() {
	if cfg := s.machine.Config(); cfg.WritableDisk() != "" {
		_ = s.shutdown(context.Background(), control.ShutdownRequest{TimeoutSeconds: shutdownGrace.Seconds()})
	}
	s.machine.Stop()
}
