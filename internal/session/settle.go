package session

import (
	"context"
	"fmt"
	"time"

	"clone/internal/control"
)

// A guest is settled when its vCPUs have run for less than a tenth of the time, in each of several looks in a row. One that
// is just starting up waits for its disk now and then, or for something to happen, but not for so long: a second and a half
// was seen to be too short for Debian, whose login and udev come to life once more after that.
const (
	settleLook  = 250 * time.Millisecond
	settleLooks = 16
	settleShare = 10
)

// settle waits until the guest has nothing to do, so that its forks do not each do the rest of it.
func (s *Session) settle(ctx context.Context, patience time.Duration) error {
	if s.machine.Paused() {
		return fmt.Errorf("%w: the VM is paused: its guest does nothing, and is not at rest; resume it, or leave out --settle", control.ErrConflict)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticks := time.NewTicker(settleLook)
	defer ticks.Stop()
	before, busy := time.Now(), time.Duration(0)
	for quiet := -1; quiet < settleLooks; { // the first look has nothing to compare with
		now, err := s.machine.BusyTime()
		if err != nil {
			return err
		}
		at := time.Now()
		if quiet >= 0 && (now-busy)*settleShare > at.Sub(before) {
			quiet = 0
		} else {
			quiet++
		}
		before, busy = at, now
		select {
		case <-ticks.C:
		case <-s.machine.Done():
			return fmt.Errorf("%w: the guest has ended", control.ErrConflict)
		case <-ctx.Done():
			return fmt.Errorf("%w: the guest did not come to rest within %v: find out what it does, or leave out --settle", control.ErrConflict, patience)
		}
	}
	return nil
}
