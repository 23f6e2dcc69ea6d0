package session

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"net"
	"time"

	"clone/internal/agent"
	"clone/internal/agentproto"
	"clone/internal/timing"
)

// becomeReady does what makes the guest a machine of its own, then opens it to others. Without an agent there is nothing
// to wait for.
func (s *Session) becomeReady(ctx context.Context) error {
	if s.machine.Config().Agent {
		ctx, cancel := context.WithTimeout(ctx, s.opts.ReadyTimeout)
		defer cancel()
		stop := s.cancelAtEnd(cancel)
		defer stop()
		if err := s.handshake(ctx); err != nil {
			if s.ended() {
				return errEndedEarly
			}
			return err
		}
	}
	if err := s.serveVsock(); err != nil {
		return err
	}
	close(s.ready)
	if err := s.tellState(); err != nil {
		return err
	}
	timing.Mark("ready")
	if !s.opts.Call {
		s.Answered()
	}
	if s.opts.Ready != nil {
		s.opts.Ready(s)
	}
	s.giveBack(ctx)
	return nil
}

// Answered notes for the next fork that this one did what it was made for.
func (s *Session) Answered() {
	_ = s.source.NoteHot(s.machine) // advice: nothing depends on it
}

// cancelAtEnd ends a wait for the agent when the guest has ended.
func (s *Session) cancelAtEnd(cancel context.CancelFunc) (stop func()) {
	over := make(chan struct{})
	s.serving.Go(func() {
		select {
		case <-s.machine.Done():
			cancel()
		case <-over:
		}
	})
	return func() { close(over) }
}

// handshake gives the guest its identity, randomness and clock, and binds the devices its template did not have. When it
// returns nil the agent has acknowledged all of it (design §5, "ready").
func (s *Session) handshake(ctx context.Context) error {
	c, err := s.dialAgent(ctx)
	if err != nil {
		return fmt.Errorf("%w; does the guest boot? `clone run` without --detach shows its console", err)
	}
	defer c.Close()
	timing.Mark("agent greeted")
	id := s.machine.Identity()
	forked := s.source.Template() != ""
	m := agentproto.Identity{
		Fork: forked, KeepMachineID: !forked,
		UUID: id.UUID, MachineID: id.UUID, Hostname: id.Hostname, CID: id.CID,
	}
	exact, err := s.stampClock(&m)
	if err != nil {
		return err
	}
	rand.Read(m.Entropy[:])
	ack, err := c.ApplyIdentity(ctx, m) // its reply does not come before the clock is set
	if err == nil {
		err = ack.Err()
	}
	if err != nil {
		return fmt.Errorf("the guest did not take its identity: %w", err)
	}
	timing.Mark("identity taken")
	if !exact {
		bound, err := c.SetClock(ctx)
		if err != nil {
			return fmt.Errorf("set the guest's clock: %w", err)
		}
		if forked && bound > clockLimit {
			return fmt.Errorf("the guest's clock may be wrong by %v, more than the %v that a fork may: the host is too busy to set it",
				bound, clockLimit)
		}
	}
	timing.Mark("clock set")
	for _, slot := range s.source.AddedSlots() {
		if err := c.BindDevice(ctx, fmt.Sprintf("LNRO0005:%02x", slot)); err != nil {
			return fmt.Errorf("bind the device in slot %d: %w", slot, err)
		}
	}
	return nil
}

// clockLimit is how wrong a fork's wall clock may be at its first command (design §5).
const clockLimit = 10 * time.Millisecond

// clockBound is how wrong the stored place of the guest's raw clock may be for a fork to rely on it alone.
const clockBound = 8 * time.Millisecond

// How stampClock repeats: until the clocks were read at the same time but for this, and not for ever.
const (
	stampGoal  = 100 * time.Microsecond
	stampTries = 16
	stampWorst = 2 * time.Millisecond // beyond it, the clock is measured
)

// stampClock puts the wall clock into the identity and, where the template knows the guest's raw clock, the reading of
// that clock which belongs to it. Then the guest's clock is right whatever the message's way takes, and no exchange of
// measurements is needed.
func (s *Session) stampClock(m *agentproto.Identity) (exact bool, err error) {
	m.WallClock = time.Now().UnixNano()
	clock := s.source.Clock()
	if clock == nil || clock.BoundNS > int64(clockBound) {
		return false, nil
	}
	// A busy host may put us aside between the two readings, for longer than a clock may be wrong: the wall clock is read
	// on both sides of the guest's, until both are close, and the closest pair counts.
	var kvmclock int64
	best := time.Duration(math.MaxInt64)
	for try := 0; try < stampTries && best > stampGoal; try++ {
		before := time.Now()
		reading, err := s.machine.KVMClock()
		if err != nil {
			return false, err
		}
		if took := time.Since(before); took < best {
			best, kvmclock, m.WallClock = took, reading, before.Add(took/2).UnixNano()
		}
	}
	m.Raw = kvmclock - clock.RawBehindNS
	return best <= stampWorst, nil
}

func (s *Session) dialAgent(ctx context.Context) (*agent.Client, error) {
	return agent.DialWait(ctx, s.agentPort)
}

// agentPort connects to the port that the guest's agent listens on.
func (s *Session) agentPort(ctx context.Context) (net.Conn, error) {
	return s.machine.Dial(ctx, agentproto.Port)
}
