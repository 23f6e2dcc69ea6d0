package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"clone/internal/agent"
	"clone/internal/agentproto"
	"clone/internal/control"
)

// shutdownGrace is how long a guest may take to shut down before we insist.
const shutdownGrace = 10 * time.Second

// machineControl is the session as the control server sees it.
type machineControl struct{ *Session }

// Console implements [control.Machine].
func (m machineControl) Console() (io.ReadWriteCloser, error) { return m.Session.Console(), nil }

// Snapshot implements [control.Machine].
func (m machineControl) Snapshot(ctx context.Context, req control.SnapshotRequest) (control.SnapshotResult, error) {
	return m.snapshot(ctx, req)
}

// Shutdown implements [control.Machine].
func (m machineControl) Shutdown(ctx context.Context, req control.ShutdownRequest) error {
	if req.Force {
		m.askedBy("clone destroy --force")
	} else {
		m.askedBy("clone destroy")
	}
	return m.shutdown(ctx, req)
}

// PowerButton implements [control.Machine].
func (m machineControl) PowerButton() error {
	m.machine.PressPowerButton()
	return nil
}

// Pause implements [control.Machine].
func (m machineControl) Pause() error {
	if err := m.machine.Pause(); err != nil {
		return err
	}
	return m.tellState()
}

// Resume implements [control.Machine].
func (m machineControl) Resume() error {
	return errors.Join(m.machine.Resume(), m.tellState())
}

// tellState says what the machine is doing now, whoever changed that.
func (s *Session) tellState() error {
	s.states.Lock()
	defer s.states.Unlock()
	switch {
	case s.machine.Paused():
		return s.dir.SetState(control.Paused)
	case s.isReady():
		return s.dir.SetState(control.Running)
	}
	return s.dir.SetState(control.Starting)
}

// shutdown asks the guest to power off: through the agent, which every init understands, and with the power button where
// no agent answers. With Force nobody is asked.
func (s *Session) shutdown(ctx context.Context, req control.ShutdownRequest) error {
	if req.TimeoutSeconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(req.TimeoutSeconds*float64(time.Second)))
		defer cancel()
	}
	if req.Force {
		s.machine.Stop()
	} else if err := s.machine.Resume(); err == nil {
		_ = s.tellState()
		if !s.askAgent(ctx) {
			s.machine.PressPowerButton()
		}
	}
	select {
	case <-s.machine.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: the guest has not shut down; `clone destroy --force` ends it", control.ErrConflict)
	}
}

// askAgent tells whether the agent took the request. It is given a moment, not the whole time that the guest has.
func (s *Session) askAgent(ctx context.Context) bool {
	if !s.machine.Config().Agent {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := agent.Dial(ctx, s.agentPort)
	if err != nil {
		return false
	}
	defer c.Close()
	return c.Shutdown(ctx, agentproto.PowerOff, false) == nil
}
