package session

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"clone/internal/agent"
	"clone/internal/control"
	"clone/internal/disk"
	"clone/internal/fork"
	"clone/internal/guestmem"
	"clone/internal/snapshot"
	"clone/internal/vmm"
)

// stored is a template that the VM was stored as.
type stored struct {
	root string // of its store
	ref  snapshot.Parent
}

// snapshot stores the machine as a template. The guest stands still from the first saved register until its memory is
// frozen, and runs while that is written; whatever fails, it goes on.
func (s *Session) snapshot(ctx context.Context, req control.SnapshotRequest) (res control.SnapshotResult, err error) {
	began := time.Now()
	select {
	case s.snapshots <- struct{}{}:
		defer func() { <-s.snapshots }()
	case <-ctx.Done():
		return res, ctx.Err()
	}
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
	parent, note, err := s.parent(store, req.Store)
	if err != nil {
		return res, err
	}
	if parent != nil {
		defer parent.Close()
		res.Parent = parent.Name()
	}
	vendor, err := s.machine.CPUVendor()
	if err != nil {
		return res, err
	}
	m := snapshot.Manifest{
		CloneVersion: s.opts.Version, Source: s.Info().ID, Config: cfg,
		CPU: snapshot.CPU{Vendor: vendor, BootID: fork.BootID()},
	}
	for i := range cfg.Disks {
		if err := s.unchanged(i); err != nil {
			return res, err
		}
	}
	m.Disks = s.stamps
	m.Clock = s.prepareGuest(ctx)
	w, err := store.Create(req.Name, m)
	if err != nil {
		return res, fmt.Errorf("%w: %w", control.ErrConflict, err)
	}
	defer w.Abort()
	if err := ctx.Err(); err != nil {
		return res, err // nobody waits for it: the guest need not stand still
	}
	still, err := s.standsStill(store.Root())
	if err != nil {
		return res, err
	}
	paused := time.Now()
	if still = still && !s.machine.Paused(); still {
		if err := s.machine.Pause(); err != nil {
			return res, err
		}
		defer s.machine.Resume()
		note = noRoom
	}
	frozen, err := s.machine.Freeze()
	if err != nil {
		return res, err
	}
	defer frozen.Memory.Close()
	if err := s.write(ctx, w, frozen, parent); err != nil {
		if errors.Is(err, guestmem.ErrFrozenLost) {
			s.noteCopyKilled()
		}
		return res, err
	}
	sealed, err := w.Commit()
	if err != nil {
		return res, err
	}
	s.stored = &stored{root: store.Root(), ref: snapshot.Parent{Name: sealed.Name, ID: sealed.ID}}
	res.Template = filepath.Join(store.Root(), req.Name)
	res.PauseNanoseconds = frozen.Stood.Nanoseconds()
	if still {
		res.PauseNanoseconds = time.Since(paused).Nanoseconds()
	}
	res.TotalNanoseconds = time.Since(began).Nanoseconds()
	res.MemoryBytes = int64(sealed.Memory.StoredBytes)
	res.Note = note
	return res, nil
}

// write writes what was frozen, while the guest goes on.
func (s *Session) write(ctx context.Context, w *snapshot.Writer, frozen *vmm.Frozen, parent *snapshot.Template) error {
	if err := w.State(frozen.State); err != nil {
		return err
	}
	c := snapshot.Contents{Own: frozen.Memory}
	if base := s.source.Base(); base != nil {
		c.Base = base.Image()
	}
	if parent == nil {
		return w.Memory(ctx, c)
	}
	return w.Layer(ctx, c, parent)
}

// parent opens the template that the snapshot builds on; nil when it is to stand alone. note says why it has to.
func (s *Session) parent(store *snapshot.Store, how string) (parent *snapshot.Template, note string, err error) {
	var from *stored
	if base := s.source.Base(); base != nil {
		from = &stored{root: base.Root(), ref: base.Ref()}
	}
	switch how {
	case control.StoreFull:
		return nil, "", nil
	case control.StoreAuto:
		if from == nil {
			return nil, "", nil
		}
	case control.StoreIncremental:
		if s.stored != nil {
			from = s.stored
		}
		if from == nil {
			return nil, "", fmt.Errorf("%w: nothing to build on: the VM was booted and has not been stored yet; "+
				"take a snapshot without --incremental first", control.ErrConflict)
		}
	default:
		return nil, "", fmt.Errorf("%w: %q is no way to store memory", control.ErrInvalid, how)
	}
	parent, err = openParent(store, from)
	if err == nil {
		return parent, "", nil
	}
	if how == control.StoreAuto {
		return nil, err.Error(), nil // the fork holds all of it itself
	}
	return nil, "", fmt.Errorf("%w: %w: take a snapshot without --incremental", control.ErrConflict, err)
}

func openParent(store *snapshot.Store, from *stored) (*snapshot.Template, error) {
	if from.root != store.Root() {
		return nil, fmt.Errorf("template %s is in another store, %s", from.ref.Name, from.root)
	}
	t, err := store.Open(from.ref.Name)
	if err != nil {
		return nil, err
	}
	if t.Ref() != from.ref {
		t.Close()
		return nil, fmt.Errorf("template %s is another one than it was", from.ref.Name)
	}
	return t, nil
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

// unchanged tells whether disk i still holds what the guest has read, at the path where its forks will look for it.
func (s *Session) unchanged(i int) error {
	now, err := s.disks[i].Stamp()
	if err != nil {
		return err
	}
	there, err := disk.StampOf(s.disks[i].Name())
	if err != nil {
		return fmt.Errorf("%w: %w", control.ErrConflict, err)
	}
	if now != s.stamps[i] || there != now {
		return fmt.Errorf("%w: disk %s was changed or replaced after the VM was started, and its forks would see what the guest's "+
			"memory does not know: start the VM anew", control.ErrConflict, s.disks[i].Name())
	}
	return nil
}

// guestPatience is for how long a guest may hold up its own snapshot before it is frozen as it is.
const guestPatience = 5 * time.Second

// prepareGuest finds out where the guest's clock lies, and makes the guest write out what it can, so that its memory holds less
// that is dirty. Both are courtesies: a guest that does not answer, because it is paused for instance, is frozen as it is, and
// its forks' clocks are measured.
func (s *Session) prepareGuest(ctx context.Context) *snapshot.Clock {
	if s.machine.Paused() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, guestPatience)
	defer cancel()
	c, err := agent.Dial(ctx, s.agentPort)
	if err != nil {
		return nil
	}
	defer c.Close()
	clock := s.rawClock(ctx, c)
	_ = c.Sync(ctx)
	return clock
}

// rawClock finds out where the guest's clock lies, within half of the guest's time. It returns nil where it cannot.
func (s *Session) rawClock(ctx context.Context, c *agent.Client) *snapshot.Clock {
	ctx, cancel := context.WithTimeout(ctx, guestPatience/2)
	defer cancel()
	raw, ok, err := c.MeasureRawClock(ctx, s.machine.KVMClock)
	if err != nil || !ok {
		return nil
	}
	return &snapshot.Clock{RawBehindNS: int64(raw.Behind), BoundNS: int64(raw.Bound)}
}
