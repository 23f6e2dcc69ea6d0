package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"clone/internal/agent"
	"clone/internal/agentproto"
)

const (
	denseForks    = 100
	denseMachines = 10 // booted one by one, to compare with
	denseStep     = 10 // VMs between two points of the curve
	denseJobs     = 4  // commands at once
)

// point is what so many VMs cost together.
type point struct {
	VMs   int
	Bytes int64 // by which MemAvailable fell
}

// curve is a line of the picture.
type curve struct {
	Name   string
	Points []point
}

// density stands a hundred forks beside each other, has each do something, and counts what they cost, beside machines that
// booted by themselves.
func (b *guestBenchmark) density(ctx context.Context) error {
	_, template, err := b.coldBoots(ctx, 1)
	if err != nil {
		return err
	}
	if err := b.snapshot(ctx, template); err != nil {
		return err
	}
	forks, err := b.dense(ctx)
	if err != nil {
		return err
	}
	machines, err := b.machines(ctx)
	if err != nil {
		return err
	}
	return b.tell(line{Curves: []curve{forks, machines}})
}

// dense is the forks' part.
func (b *guestBenchmark) dense(ctx context.Context) (c curve, err error) {
	c.Name = fmt.Sprintf("forks of one template (%d MiB guests)", b.guest.memoryMiB)
	before, err := settledMemory(ctx)
	if err != nil {
		return c, err
	}
	began := time.Now()
	var vms []string
	var ready []time.Duration
	err = b.clone.lines(ctx, func(id string) {
		vms = append(vms, id)
		ready = append(ready, time.Since(began))
		if len(vms)%denseStep == 0 {
			progress("%d forks after %s", len(vms), short(time.Since(began)))
			c.Points = append(c.Points, point{len(vms), before - meminfo("MemAvailable")})
		}
	}, "fork", "--template", templateName, "--count", fmt.Sprint(denseForks))
	if err == nil && len(vms) != denseForks {
		err = fmt.Errorf("%d forks of %d became ready", len(vms), denseForks)
	}
	if err != nil {
		return c, err
	}
	untouched, err := b.cost(ctx, before)
	if err != nil {
		return c, err
	}
	idle := untouched.row(fmt.Sprintf("memory of an idle fork, of %d that were asked nothing: MemAvailable beyond the monitor's process", denseForks))
	progress("idle: %s", idle.Value)
	merged, err := b.merged(ctx, before)
	if err != nil {
		return c, err
	}
	progress("a command in each")
	answers, err := b.each(ctx, vms, "cat", "/proc/sys/kernel/hostname")
	if err != nil {
		return c, err
	}
	if n := distinct(answers); n != denseForks {
		return c, fmt.Errorf("%d forks gave %d different answers", denseForks, n)
	}
	asked, err := b.cost(ctx, before)
	if err != nil {
		return c, err
	}
	c.Points = append(c.Points, point{denseForks, denseForks * asked.fell})
	progress("a small job in each")
	work := time.Now()
	sums, err := b.each(ctx, vms, "sh", "-c", "sha256sum /proc/version /etc/os-release")
	if err != nil {
		return c, err
	}
	worked := time.Since(work)
	if distinct(sums) != 1 {
		return c, errors.New("the same job gave different results")
	}
	end := time.Now()
	if err := b.clone.end(); err != nil {
		return c, err
	}
	ended := time.Since(end)
	off := float64(asked.told-asked.fell) / float64(asked.fell)
	rows := []error{
		b.emit(Row{Claim: fmt.Sprintf("%d forks by one `clone fork --count`, until the last agent acknowledged", denseForks),
			Value: fmt.Sprintf("%s, %s each; all answered a command, ran a job (%s together) and ended (%s together)",
				short(ready[len(ready)-1]), short(ready[len(ready)-1]/denseForks), short(worked), short(ended)), OK: true}),
		b.emit(idle),
	}
	if merged != nil {
		rows = append(rows, b.emit(merged.row("the same, after three scans of the host's KSM")))
	}
	return c, errors.Join(append(rows,
		b.emit(asked.row("the same without KSM, after each answered a command")),
		b.emit(Row{Claim: fmt.Sprintf("memory of a fork's monitor, of %d", denseForks), Value: mib(asked.monitor),
			Budget: "≤ " + mib(budgetVMM), OK: asked.monitor <= budgetVMM}),
		b.emit(Row{Claim: fmt.Sprintf("`clone status` over %d forks: the sum it tells", denseForks),
			Value: mib(denseForks * asked.told), Against: "the fall of MemAvailable: " + mib(denseForks*asked.fell), Ratio: fmt.Sprintf("%+.1f %%", 100*off),
			Budget: "within 10 %", OK: off > -0.1 && off < 0.1}),
	)...)
}

// cost is what each of the dense forks costs, in bytes.
type cost struct {
	fell    int64 // by which MemAvailable fell
	told    int64 // what clone status says of it
	monitor int64 // of the monitor's process alone
	guest   int64 // pages of guest RAM that are the fork's own
}

// cost measures it, once memory stands still.
func (b *guestBenchmark) cost(ctx context.Context, before int64) (c cost, err error) {
	now, err := settledMemory(ctx)
	if err != nil {
		return c, err
	}
	sum, err := b.clone.status(ctx)
	return cost{fell: (before - now) / denseForks, told: sum.Cost / denseForks,
		monitor: sum.Monitor.Private / denseForks, guest: sum.Guest.Private / denseForks}, err
}

func (c cost) row(claim string) Row {
	return Row{Claim: claim,
		Value:  fmt.Sprintf("%s (MemAvailable fell by %s; of that, pages of guest RAM that it changed: %s)", mib(c.fell-c.monitor), mib(c.fell), mib(c.guest)),
		Budget: "≤ " + mib(budgetPerFork), OK: c.fell-c.monitor <= budgetPerFork}
}

// merged counts with the host's KSM on, which merges pages that forks changed in the same way, and has them separate again
// afterwards. On a host that is not ours the switch is its administrator's, and nothing is counted.
func (b *guestBenchmark) merged(ctx context.Context, before int64) (*cost, error) {
	if !b.ownHost {
		return nil, nil
	}
	const ksm, patience = "/sys/kernel/mm/ksm/", 4 * time.Minute
	set := func(file, value string) error { return os.WriteFile(ksm+file, []byte(value), 0o644) }
	if err := errors.Join(set("pages_to_scan", "2000"), set("run", "1")); err != nil {
		return nil, err
	}
	progress("wait for KSM")
	scans := func() int {
		text, _ := os.ReadFile(ksm + "full_scans")
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return n
	}
	began, first := time.Now(), scans()
	for scans() < first+3 && time.Since(began) < patience { // a page is merged when two scans in a row saw it unchanged
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := set("run", "0"); err != nil {
		return nil, err
	}
	found, err := b.cost(ctx, before)
	return &found, errors.Join(err, set("run", "2"), set("run", "0"))
}

// machines boots the same guest a few times, each by itself.
func (b *guestBenchmark) machines(ctx context.Context) (c curve, err error) {
	c.Name = "machines booted one by one"
	before, err := settledMemory(ctx)
	if err != nil {
		return c, err
	}
	for n := 1; n <= denseMachines; n++ {
		vm, _, err := b.clone.coldBoot(ctx, b.guest)
		if err == nil {
			err = b.clone.warm(ctx, vm)
		}
		if err != nil {
			return c, err
		}
		progress("%d machines booted", n)
		c.Points = append(c.Points, point{n, before - meminfo("MemAvailable")})
	}
	idle, err := settledMemory(ctx)
	if err != nil {
		return c, err
	}
	fell := before - idle
	c.Points[denseMachines-1].Bytes = fell
	return c, errors.Join(b.clone.end(), b.emit(Row{
		Claim: fmt.Sprintf("memory of a machine booted by itself, of %d idle ones: MemAvailable", denseMachines), Value: mib(fell / denseMachines), OK: true}))
}

// lines runs a command and hands over its standard output line by line, as it comes.
func (c clone) lines(ctx context.Context, line func(string), args ...string) error {
	cmd := c.command(ctx, args...)
	var message strings.Builder
	cmd.Stderr = &message
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line(lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("clone %s: %w: %s", strings.Join(args, " "), err, message.String())
	}
	return nil
}

// told is the sum that `clone status` tells of all VMs, in bytes.
type told struct {
	Cost           int64
	Guest, Monitor struct{ Private int64 }
}

func (c clone) status(ctx context.Context) (told, error) {
	var s struct{ Total struct{ Memory told } }
	out, err := c.run(ctx, "status", "--json")
	if err != nil {
		return s.Total.Memory, err
	}
	return s.Total.Memory, json.Unmarshal([]byte(out), &s)
}

// each runs a command in every VM, a few at once, and returns what they printed.
func (b *guestBenchmark) each(ctx context.Context, vms []string, command ...string) ([]string, error) {
	answers, errs := make([]string, len(vms)), make([]error, len(vms))
	var running sync.WaitGroup
	slots := make(chan struct{}, denseJobs)
	for i, vm := range vms {
		slots <- struct{}{}
		running.Go(func() {
			answers[i], errs[i] = b.clone.ask(ctx, vm, command...)
			<-slots
		})
	}
	running.Wait()
	return answers, errors.Join(errs...)
}

// askPatience is for one command among a hundred guests on one emulated processor.
const askPatience = 2 * time.Minute

// ask runs a command through the VM's agent, from this process.
func (c clone) ask(ctx context.Context, vm string, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	client, err := c.dial(ctx, vm)
	if err != nil {
		return "", fmt.Errorf("VM %s: %w", vm, err)
	}
	defer client.Close()
	var out, complaint strings.Builder
	process, err := client.Exec(ctx, agent.Command{Args: command, Stdout: &out, Stderr: &complaint})
	if err != nil {
		return "", fmt.Errorf("VM %s: %w", vm, err)
	}
	if status, err := process.Wait(); err != nil || status != 0 {
		return "", fmt.Errorf("VM %s: %q ended with %d, %v: %s", vm, command, status, err, complaint.String())
	}
	return out.String(), nil
}

func (c clone) dial(ctx context.Context, vm string) (*agent.Client, error) {
	socket := filepath.Join(c.dir, "run", vm, "vsock.sock")
	return agent.Dial(ctx, func(ctx context.Context) (net.Conn, error) {
		return agent.DialVsockUnix(ctx, socket, agentproto.Port)
	})
}

func distinct(list []string) int {
	seen := map[string]bool{}
	for _, s := range list {
		seen[s] = true
	}
	return len(seen)
}
