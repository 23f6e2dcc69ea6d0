package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"clone/internal/testhost"
)

// How often the guest part repeats.
const (
	coldBoots    = 3
	forkRounds   = 10 // one fork each
	qemuRounds   = 5  // of them, that restore with QEMU too
	streamRounds = 3  // the slow way of QEMU
)

// insideMain measures in an emulated host. Its standard output is for collect.
func insideMain(ctx context.Context, part string, w io.Writer) error {
	out := json.NewEncoder(w)
	machine := thisMachine("")
	if err := out.Encode(line{Machine: &machine}); err != nil {
		return err
	}
	return insideBench(ctx, part, true, func(l line) error { return out.Encode(l) })
}

// insideBench measures on this machine, a KVM host, and leaves nothing behind.
func insideBench(ctx context.Context, part string, ownHost bool, emit func(line) error) error {
	b, err := newGuestBench(emit)
	if err != nil {
		return err
	}
	b.ownHost = ownHost
	switch part {
	case "guest":
		err = b.run(ctx)
	case "density":
		err = b.density(ctx)
	case "unique":
		err = b.unique(ctx)
	}
	return errors.Join(err, b.clone.end(), os.RemoveAll(b.dir))
}

// guestBenchmark is the guest part.
type guestBenchmark struct {
	dir   string // of all files: both monitors' are on the same file system
	guest guest
	clone clone
	qemu  *qemu
	tell  func(line) error

	ownHost bool // nobody else's: an emulated one
}

// emit hands over a figure.
func (b *guestBenchmark) emit(r Row) error { return b.tell(line{Row: &r}) }

func newGuestBench(tell func(line) error) (*guestBenchmark, error) {
	cache, err := testhost.CacheDir()
	if err != nil {
		return nil, err
	}
	program, err := filepath.Abs("bin/clone")
	if err != nil {
		return nil, err
	}
	g := guest{kernel: filepath.Join(cache, "kernels", "6.12", "vmlinuz"), image: filepath.Join(cache, "debian.ext4"), memoryMiB: 256}
	for _, path := range []string{program, g.kernel, g.image} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%w: `make bench` prepares it", err)
		}
	}
	dir, err := os.MkdirTemp("", "clone-bench-")
	if err != nil {
		return nil, err
	}
	return &guestBenchmark{dir: dir, guest: g, clone: clone{program, dir}, tell: tell}, nil
}

func (b *guestBenchmark) run(ctx context.Context) error {
	cold, template, err := b.coldBoots(ctx, coldBoots)
	if err != nil {
		return err
	}
	if err := b.snapshot(ctx, template); err != nil {
		return err
	}
	progress("QEMU: boot, wait until the guest is warm, save")
	if b.qemu, err = newQEMU(b.guest, b.dir); err != nil {
		return err
	}
	if err := b.qemu.save(ctx); err != nil {
		return err
	}
	forks, err := b.rounds(ctx, cold)
	if err != nil {
		return err
	}
	return b.streamed(ctx, forks)
}

// coldBoots boots a few times and leaves the last VM running.
func (b *guestBenchmark) coldBoots(ctx context.Context, n int) (cold []time.Duration, last string, err error) {
	for i := range n {
		vm, t, err := b.clone.coldBoot(ctx, b.guest)
		if err != nil {
			return nil, "", err
		}
		progress("cold boot: %s", short(t.total))
		cold = append(cold, t.total)
		if i == n-1 {
			return cold, vm, nil
		}
		if err := b.clone.destroy(ctx, vm); err != nil {
			return nil, "", err
		}
	}
	return cold, "", errors.New("no cold boot")
}

// snapshot makes the template once the guest is warm.
func (b *guestBenchmark) snapshot(ctx context.Context, vm string) error {
	progress("wait until the guest is warm, snapshot")
	if err := b.clone.warm(ctx, vm); err != nil {
		return err
	}
	s, err := b.clone.snapshot(ctx, vm)
	if err != nil {
		return err
	}
	if err := b.clone.destroy(ctx, vm); err != nil {
		return err
	}
	pause, total := time.Duration(s.Pause), time.Duration(s.Total)
	return b.emit(Row{
		Claim: fmt.Sprintf("pause of a snapshot, %d MiB guest", b.guest.memoryMiB),
		Value: fmt.Sprintf("%s for %s stored", short(pause), mib(s.Memory)), Against: "the whole snapshot: " + short(total),
		Ratio: ratioText(float64(pause) / float64(total)), OK: true,
	})
}

// rounds compares, in turns so that a noisy moment hits both, forks with QEMU's better way to restore. It returns the forks.
func (b *guestBenchmark) rounds(ctx context.Context, cold []time.Duration) (forks []time.Duration, err error) {
	var starts, calls, restored []time.Duration
	for i := range forkRounds {
		vm, t, err := b.clone.fork(ctx)
		if err != nil {
			return nil, err
		}
		if err := b.clone.destroy(ctx, vm); err != nil {
			return nil, err
		}
		call, err := b.clone.call(ctx)
		if err != nil {
			return nil, err
		}
		progress("fork: %s, of that until the agent is ready %s; as one call %s", short(t.total), short(t.start), short(call))
		forks, starts, calls = append(forks, t.total), append(starts, t.start), append(calls, call)
		if i >= qemuRounds {
			continue
		}
		took, err := b.qemu.restore(ctx, mapped)
		if err != nil {
			return nil, err
		}
		progress("%s: %s", mapped, short(took))
		restored = append(restored, took)
	}
	return forks, errors.Join(
		b.emit(compare(forkClaim, forks, "cold boot to first exec reply", cold, 1.0/20)),
		b.emit(compare("fork, command and answer in one call (`clone fork -- echo`)", calls, "cold boot to first exec reply", cold, 1.0/20)),
		b.emit(Row{Claim: "of the first, `clone fork --detach` until the agent is ready", Value: spread(starts), OK: true}),
		b.emit(against(mapped, forks, restored)),
	)
}

// streamed measures QEMU's other way. It comes last and not in the rounds: in an emulated host, a guest that lands in fresh
// memory has all its code translated again, which slows down whatever comes next.
func (b *guestBenchmark) streamed(ctx context.Context, forks []time.Duration) error {
	var restored []time.Duration
	for range streamRounds {
		took, err := b.qemu.restore(ctx, streamed)
		if err != nil {
			return err
		}
		progress("%s: %s", streamed, short(took))
		restored = append(restored, took)
	}
	return b.emit(against(streamed, forks, restored))
}

const forkClaim = "fork to first exec reply, stock Debian"

func against(r restoring, forks, restored []time.Duration) Row {
	row := compare(forkClaim, forks, r.String()+" to first reply", restored, 1)
	row.Budget = "< 1 ×"
	return row
}

const (
	budgetPerFork = 3 << 20 // bytes of MemAvailable, beyond the monitor
	budgetVMM     = 5 << 20 // bytes that the monitor has for itself
)

// progress tells a person what is being done.
func progress(format string, a ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", a...) }
