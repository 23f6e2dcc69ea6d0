package session

import (
	"context"
	"runtime/debug"
	"time"

	"clone/internal/cgroup"
	"clone/internal/control"
	"clone/internal/vmm"
)

// limit moves this process into a control group with the limits, before it has memory worth counting.
func (s *Session) limit(l cgroup.Limits) (leave func(), err error) {
	group, err := cgroup.Join(s.dir.Info().ID, l)
	if err != nil {
		return nil, err
	}
	// A failure to leave is no failure of the VM's: the group is reaped with the directory, or by cgroup.Reap.
	leave = func() { _ = group.Leave() }
	if err := s.dir.Update(func(i *control.Info) { i.Cgroup = group.Path() }); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// noteCopyKilled notes that the kernel killed a frozen copy, so that nobody takes it for the VM's end later.
func (s *Session) noteCopyKilled() {
	group := s.dir.Info().Cgroup
	if group == "" {
		return
	}
	if kills, err := cgroup.KillsOf(group); err == nil {
		_ = s.dir.Update(func(i *control.Info) { i.CopiesKilled = kills.Processes })
	}
}

// shareMemory says where guest RAM is, for those who count it, and lets the host merge equal pages of it: that takes 2 µs.
func (s *Session) shareMemory() {
	mem := s.machine.Memory()
	s.dir.Note(func(i *control.Info) { i.RAM = mem.HostRanges() })
	if !s.opts.NoKSM {
		_ = mem.Mergeable() // pages that stay separate are a cost, and no fault
	}
}

const (
	// giveBackAfter is how long a VM that became ready is left alone before its monitor gives memory back.
	giveBackAfter = time.Second
	// giveBackOften is the time until the guest's pages are looked at, and again while that gives worthwhile pages; else it
	// doubles, up to giveBackMost. A fork that ends before has nothing to save.
	giveBackOften = 30 * time.Second
	giveBackMost  = 5 * time.Minute
	worthwhile    = 32
	// heapGrowth is the GOGC of a monitor at rest: garbage is collected when the heap has 1.6 MiB, which a fork that was left
	// alone does not reach (a collection needs 0.4 MiB itself, for good), and not with the default's 4 MiB first.
	heapGrowth = 40
)

// giveBack returns what the monitor needed on the way to readiness, and from time to time the pages that the guest does not
// need as its own any more: both live long, and there are many.
func (s *Session) giveBack(ctx context.Context) {
	if !s.wait(ctx, giveBackAfter) {
		return
	}
	debug.SetGCPercent(heapGrowth)
	base := s.source.Base()
	if base == nil {
		debug.FreeOSMemory() // a boot has read a kernel and an initrd
		return
	}
	compared := s.machine.Memory().Compare(base.Image())
	busy, _ := s.machine.BusyTime()
	for after := giveBackOften; s.wait(ctx, after); {
		now, err := s.machine.BusyTime()
		pages := uint64(0)
		// The guest stands still for it, so it is not done to one that has work.
		if err == nil && (now-busy)*settleShare < after {
			pages, _ = s.machine.GiveBack(ctx, compared) // what it cannot give back, it keeps
		}
		busy = now
		switch {
		case pages >= vmm.GiveBackPages:
			after = giveBackAfter // there are more
		case pages >= worthwhile:
			after = giveBackOften
		default:
			after = min(2*after, giveBackMost)
		}
	}
}

// wait tells whether the VM still lives after that time.
func (s *Session) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.machine.Done():
	case <-ctx.Done():
	}
	return false
}
