package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"clone/internal/agent"
)

const (
	uniqueForks = 1000
	uniqueBatch = 25 // alive at once
	clockBudget = 10 * time.Millisecond
)

// whoAmI prints what no two machines may have in common: 64 bytes of randomness on the first line, and four files on a line
// each. It starts one process beside the shell: a thousand forks of an emulated guest have time for little more.
const whoAmI = `echo $(od -An -v -tx1 -N64 /dev/urandom)
for f in /proc/sys/kernel/random/uuid /etc/machine-id /run/clone/vm-id /proc/sys/kernel/hostname; do read -r x <$f; echo $x; done`

var whoAmINames = []string{"64 bytes of /dev/urandom", "random UUID", "machine-id", "VM UUID", "hostname"}

// unique forks a template a thousand times, in batches, and looks for anything that two forks have in common.
func (b *guestBenchmark) unique(ctx context.Context) error {
	_, template, err := b.coldBoots(ctx, 1)
	if err != nil {
		return err
	}
	if err := b.snapshot(ctx, template); err != nil {
		return err
	}
	seen := make([]map[string]bool, len(whoAmINames)+1) // the last is of the CIDs
	for i := range seen {
		seen[i] = map[string]bool{}
	}
	var clocks []clockError
	for total := 0; total < uniqueForks; {
		vms, err := b.batch(ctx, seen, &clocks)
		if err != nil {
			return err
		}
		total += vms
		progress("%d forks, all different", total)
		if err := b.clone.end(); err != nil {
			return err
		}
	}
	return b.emitUnique(clocks)
}

func (b *guestBenchmark) batch(ctx context.Context, seen []map[string]bool, clocks *[]clockError) (n int, err error) {
	var vms []string
	var failed []error
	err = b.clone.lines(ctx, func(id string) {
		// At once, so that it is the first command: what is wrong for a moment only is wrong, too.
		e, err := b.clone.clockError(ctx, id)
		*clocks, failed = append(*clocks, e), append(failed, err)
		vms = append(vms, id)
	}, "fork", "--template", templateName, "--count", fmt.Sprint(uniqueBatch), "--parallel", "1")
	if err := errors.Join(append(failed, err)...); err != nil {
		return 0, err
	}
	answers, err := b.each(ctx, vms, "sh", "-c", whoAmI)
	if err != nil {
		return 0, err
	}
	for i, answer := range answers {
		lines := strings.Split(strings.TrimSpace(answer), "\n")
		if len(lines) != len(whoAmINames) {
			return 0, fmt.Errorf("VM %s answered %q", vms[i], answer)
		}
		for j, line := range lines {
			if line == "" || seen[j][line] {
				return 0, fmt.Errorf("VM %s has the %s of another: %q", vms[i], whoAmINames[j], line)
			}
			seen[j][line] = true
		}
	}
	cids, err := b.clone.cids(ctx)
	if err != nil {
		return 0, err
	}
	for _, cid := range cids {
		if seen[len(whoAmINames)][cid] {
			return 0, fmt.Errorf("vsock CID %s came twice", cid)
		}
		seen[len(whoAmINames)][cid] = true
	}
	return len(vms), nil
}

func (b *guestBenchmark) emitUnique(clocks []clockError) error {
	var likely, worst []time.Duration
	for _, c := range clocks {
		likely, worst = append(likely, c.likely), append(worst, c.worst)
	}
	return errors.Join(
		b.emit(Row{Claim: fmt.Sprintf("%d forks, %d at a time: %s, vsock CID", uniqueForks, uniqueBatch, strings.Join(whoAmINames, ", ")),
			Value: "no duplicate", Budget: "none", OK: true}),
		b.emit(Row{Claim: fmt.Sprintf("error of the wall clock at a fork's first command, of %d", uniqueForks), Value: fmt.Sprintf("p50 %s, p99 %s, greatest %s; bounds of the measurement: p99 %s",
			short(percentile(likely, 50)), short(percentile(likely, 99)), short(slices.Max(likely)), short(percentile(worst, 99))),
			Budget: "p99 ≤ " + short(clockBudget), OK: percentile(likely, 99) <= clockBudget}),
	)
}

// clockError is how wrong a guest's wall clock is.
type clockError struct {
	likely time.Duration // the middle of what is possible
	worst  time.Duration // the end of it that is farther from zero
}

// clockError is by the guest's own comparison, which messages to it and back must not contradict.
func (c clone) clockError(ctx context.Context, vm string) (e clockError, err error) {
	client, err := c.dial(ctx, vm)
	if err != nil {
		return e, fmt.Errorf("VM %s: %w", vm, err)
	}
	defer client.Close()
	m, ok, err := client.CompareClock(ctx)
	if err == nil && !ok {
		err = errors.New("it cannot compare its clock")
	}
	if err != nil {
		return e, fmt.Errorf("VM %s: %w", vm, err)
	}
	compared := agent.WallSpan(m)
	messages, err := client.MeasureClock(ctx)
	if err != nil {
		return e, fmt.Errorf("VM %s: %w", vm, err)
	}
	if messages.Span().Narrow(compared).Width() < 0 {
		return e, fmt.Errorf("VM %s: its clock is off by %v, by messages %v", vm, compared, messages.Span())
	}
	return clockError{likely: compared.Middle().Abs(), worst: compared.Bound()}, nil
}

// cids lists the CIDs of the VMs that run.
func (c clone) cids(ctx context.Context) (cids []string, err error) {
	out, err := c.run(ctx, "list", "--json")
	if err != nil {
		return nil, err
	}
	var list []struct {
		CID json.Number `json:"cid"`
	}
	err = json.Unmarshal([]byte(out), &list)
	for _, vm := range list {
		cids = append(cids, vm.CID.String())
	}
	return cids, err
}

// percentile of a sample that is not empty.
func percentile(values []time.Duration, p int) time.Duration {
	s := slices.Sorted(slices.Values(values))
	return s[min(len(s)-1, len(s)*p/100)]
}
