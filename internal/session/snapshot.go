package session

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"clone/internal/agent"
	"clone/internal/control"
	"clone/internal/fork"
	"clone/internal/snapshot"
)

// snapshot stores the machine as a template. The guest stands still from the first saved register to the last written
// page; whatever fails, it goes on.
func (s *Session) snapshot(ctx context.Context, req control.SnapshotRequest) (res control.SnapshotResult, err error) {
	began := time.Now()
	s.snapshots.Lock()
	defer s.snapshots.Unlock()
	cfg := s.machine.Config()
	if err := s.forkable(); err != nil {
		return res, err
	}
	if req.SettleSeconds > 0 {
		if err := s.settle(ctx, time.Duration(req.SettleSeconds*float64(time.Second))); err != nil {
			return res, err
		}
	}
	store, err := snapshot.StoreAt(req.Dir)
	if err != nil {
		return res, fmt.Errorf("%w: %w", control.ErrInvalid, err)
	}
	vendor, err := s.machine.CPUVendor()
	if err != nil {
		return res, err
	}
	m := snapshot.Manifest{
		CloneVersion: s.opts.Version, Source: s.Info().ID, Config: cfg,
		CPU: snapshot.CPU{Vendor: vendor, BootID: fork.BootID()},
	}
	for _, d := range cfg.Disks {
		pin, err := snapshot.DescribeDisk(d.Path)
		if err != nil {
			return res, err
		}
		m.Disks = append(m.Disks, pin)
	}
	m.Clock = s.prepareGuest(ctx)
	w, err := store.Create(req.Name, m)
	if err != nil {
		return res, fmt.Errorf("%w: %w", control.ErrConflict, err)
	}
	defer w.Abort()
	pause, err := s.freeze(w)
	if err != nil {
		return res, err
	}
	sealed, err := w.Commit()
	if err != nil {
		return res, err
	}
	return control.SnapshotResult{
		Template:         filepath.Join(store.Root(), req.Name),
		PauseNanoseconds: pause.Nanoseconds(),
		TotalNanoseconds: time.Since(began).Nanoseconds(),
		MemoryBytes:      int64(sealed.Memory.StoredBytes),
	}, nil
}

// forkable says why a fork of this machine could not be made right.
func (s *Session) forkable() error {
	cfg := s.machine.Config()
	if path := cfg.WritableDisk(); path != "" {
		return fmt.Errorf("%w: the guest can write disk %s, which its forks would share and destroy: "+
			"start the VM with --overlay, or the disk with ,ro", control.ErrConflict, path)
	}
	if !cfg.Agent {
		return fmt.Errorf("%w: the guest has no agent (it was started with --initrd), so a fork could not be given "+
			"its own identity and clock: start the VM with --rootfs", control.ErrConflict)
	}
	if !s.isReady() {
		return fmt.Errorf("%w: the guest's agent has not answered yet", control.ErrConflict)
	}
	return nil
}

// prepareGuest makes the guest write out what it can, so that its memory holds less that is dirty, and finds out where its
// clock lies. Both are courtesies: a guest that does not answer is frozen as it is.
func (s *Session) prepareGuest(ctx context.Context) *snapshot.Clock {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := agent.Dial(ctx, s.agentPort)
	if err != nil {
		return nil
	}
	defer c.Close()
	_ = c.Sync(ctx)
	raw, ok, err := c.MeasureRawClock(ctx, s.machine.KVMClock)
	if err != nil || !ok {
		return nil
	}
	return &snapshot.Clock{RawBehindNS: int64(raw.Behind), BoundNS: int64(raw.Bound)}
}

// freeze pauses the machine, writes its state and memory, and lets it go on. It returns how long it stood still.
func (s *Session) freeze(w *snapshot.Writer) (pause time.Duration, err error) {
	info := s.Info()
	began := time.Now()
	if err := s.machine.Pause(); err != nil {
		return 0, err
	}
	defer func() {
		if info.State != control.Paused {
			if resumeErr := s.machine.Resume(); err == nil {
				err = resumeErr
			}
		}
		pause = time.Since(began)
	}()
	st, err := s.machine.Save()
	if err != nil {
		return 0, err
	}
	b, err := st.MarshalBinary()
	if err != nil {
		return 0, err
	}
	if err := w.State(b); err != nil {
		return 0, err
	}
	return 0, w.Memory(s.machine.Memory())
}
