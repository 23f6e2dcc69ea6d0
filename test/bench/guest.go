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
	idleForks    = 10 // at once
	streamRounds = 3  // the slow way of QEMU
)

// settle is how long forks are left alone before their memory is counted.
const settle = 3 * time.Second

// insideMain measures in an emulated host. Its standard output is for collect.
func insideMain(ctx context.Context, w io.Writer) error {
	out := json.NewEncoder(w)
	machine := thisMachine("")
	if err := out.Encode(line{Machine: &machine}); err != nil {
		return err
	}
	return insideBench(ctx, func(r Row) error { return out.Encode(line{Row: &r}) })
}

// insideBench measures on this machine, a KVM host, and leaves nothing behind.
func insideBench(ctx context.Context, emit func(Row) error) error {
	b, err := newGuestBench(emit)
	if err != nil {
		return err
	}
	err = b.run(ctx)
	return errors.Join(err, b.clone.end(), os.RemoveAll(b.dir))
}

// guestBenchmark is the guest part.
type guestBenchmark struct {
	dir   string // of all files: both monitors' are on the same file system
	guest guest
	clone clone
	qemu  *qemu
	emit  func(Row) error
}

func newGuestBench(emit func(Row) error) (*guestBenchmark, error) {
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
	return &guestBenchmark{dir: dir, guest: g, clone: clone{program, dir}, emit: emit}, nil
}

func (b *guestBenchmark) run(ctx context.Context) error {
	cold, template, err := b.coldBoots(ctx)
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
	if err := b.memory(ctx); err != nil {
		return err
	}
	return b.streamed(ctx, forks)
}

// coldBoots boots a few times and leaves the last VM running.
func (b *guestBenchmark) coldBoots(ctx context.Context) (cold []time.Duration, last string, err error) {
	for i := range coldBoots {
		vm, t, err := b.clone.coldBoot(ctx, b.guest)
		if err != nil {
			return nil, "", err
		}
		progress("cold boot: %s", short(t.total))
		cold = append(cold, t.total)
		if i == coldBoots-1 {
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
	var starts, restored []time.Duration
	for i := range forkRounds {
		vm, t, err := b.clone.fork(ctx)
		if err != nil {
			return nil, err
		}
		if err := b.clone.destroy(ctx, vm); err != nil {
			return nil, err
		}
		progress("fork: %s, of that until the agent is ready %s", short(t.total), short(t.start))
		forks, starts = append(forks, t.total), append(starts, t.start)
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
		b.emit(Row{Claim: "of that, `clone fork --detach` until the agent is ready", Value: spread(starts), OK: true}),
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

// memory counts what idle forks cost.
func (b *guestBenchmark) memory(ctx context.Context) error {
	progress("memory of %d forks", idleForks)
	before := meminfo("MemAvailable")
	var sum privateMemory
	var vms []string
	for range idleForks {
		vm, _, err := b.clone.fork(ctx)
		if err != nil {
			return err
		}
		vms = append(vms, vm)
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	dropped := (before - meminfo("MemAvailable")) / idleForks
	for _, vm := range vms {
		pid, err := b.clone.pid(ctx, vm)
		if err != nil {
			return err
		}
		p, err := privateOf(pid)
		if err != nil {
			return err
		}
		sum.guest, sum.vmm = sum.guest+p.guest, sum.vmm+p.vmm
	}
	guest, vmm := sum.guest/idleForks, sum.vmm/idleForks
	beyond := dropped - vmm
	return errors.Join(
		b.emit(Row{
			Claim:  fmt.Sprintf("memory of a fork that answered one command, of %d idle ones: MemAvailable beyond the monitor's process", idleForks),
			Value:  fmt.Sprintf("%s (MemAvailable fell by %s; of that, pages of guest RAM that it changed: %s)", mib(beyond), mib(dropped), mib(guest)),
			Budget: "≤ " + mib(budgetPerFork), OK: beyond <= budgetPerFork,
		}),
		b.emit(Row{
			Claim: "memory of a fork's monitor: anonymous pages beside guest RAM", Value: mib(vmm),
			Budget: "≤ " + mib(budgetVMM), OK: vmm <= budgetVMM,
		}),
	)
}

// progress tells a person what is being done.
func progress(format string, a ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", a...) }
