package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"clone/internal/control"
	"clone/internal/session"
)

// many is a number of detached forks, started side by side.
type many struct {
	count, parallel int

	mu     sync.Mutex // guards what follows, and the outputs
	ready  int
	took   []time.Duration // from the start of a process to its guest's readiness
	wrong  int             // forks that failed, those that were interrupted left out
	untold bool            // ids cannot be printed
}

const (
	maxCount    = 10000
	maxParallel = 1024
)

func (m *many) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&m.count, "count", 1, "start this many forks, detached, and print the id of each as it becomes ready; NAME becomes NAME-1, NAME-2, ...")
	cmd.Flags().IntVar(&m.parallel, "parallel", max(2, 2*runtime.NumCPU()), "how many of --count start at the same time")
}

func (m *many) check() error {
	switch {
	case m.count < 1 || m.count > maxCount:
		return usageErrorf("--count is 1 to %d", maxCount)
	case m.parallel < 1 || m.parallel > maxParallel:
		return usageErrorf("--parallel is 1 to %d", maxParallel)
	}
	return nil
}

// run starts them. What is wrong with all of them is found before the first: the template, the names, the disks. One that
// fails takes down no other. Ctrl-C ends those that are starting, and so does an id that cannot be printed; those that are
// ready stay.
func (m *many) run(cmd *cobra.Command, f *vmFlags, source session.Source) error {
	if err := m.refuse(f, source); err != nil {
		return err
	}
	asked, stop := untilSignal(cmd.Context())
	defer stop()
	defer keepOutput()()
	ctx, giveUp := context.WithCancel(asked)
	defer giveUp()
	began := time.Now()
	slots := make(chan struct{}, m.parallel)
	var wg sync.WaitGroup
	for i := 1; i <= m.count && ctx.Err() == nil; i++ {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			m.start(cmd, f, i, ctx.Done(), giveUp)
		})
	}
	wg.Wait()
	return m.sum(cmd, time.Since(began), asked.Err() != nil)
}

// refuse says why not all of them can be.
func (m *many) refuse(f *vmFlags, source session.Source) error {
	cfg := source.Config()
	if disk := cfg.WritableDisk(); disk != "" && m.count > 1 {
		return fmt.Errorf("--count %d with --block %s: a disk that is written to is one VM's alone; add ,ro, or fork one by one", m.count, disk)
	}
	if f.name == "" {
		return nil
	}
	registry, err := control.Open()
	if err != nil {
		return err
	}
	for i := 1; i <= m.count; i++ {
		if err := registry.CheckFree(numbered(f.name, i)); err != nil {
			return fmt.Errorf("%w; nothing was started", err)
		}
	}
	return nil
}

func numbered(name string, i int) string { return name + "-" + strconv.Itoa(i) }

// start starts one, and tells when it is ready or why not. It calls giveUp where nobody can be told.
func (m *many) start(cmd *cobra.Command, f *vmFlags, i int, done <-chan struct{}, giveUp func()) {
	// Of a flag that comes twice the last counts. The template has been verified, where that was asked for.
	args := append(slices.Clone(os.Args[1:]), "--verify=false")
	label := strconv.Itoa(i)
	if f.name != "" {
		label = numbered(f.name, i)
		args = append(args, "--name="+label)
	}
	if f.hostname != "" {
		args = append(args, "--hostname="+numbered(f.hostname, i))
	}
	began := time.Now()
	d, err := startDetached(args)
	var id string
	if err == nil {
		id, err = d.await(done)
	}
	took := time.Since(began)
	if err == nil {
		if err = m.tell(cmd, d, id, took); err != nil {
			giveUp()
			d.end()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && !errors.Is(err, errInterrupted) {
		m.wrong++
		fmt.Fprintf(cmd.ErrOrStderr(), "clone: fork %s: %s\n", label, messageOf(err))
	}
}

// tell prints the id of one that is ready, and counts it.
func (m *many) tell(cmd *cobra.Command, d *detached, id string, took time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := d.tell(cmd.OutOrStdout(), id); err != nil {
		m.untold = true
		return err
	}
	m.ready, m.took = m.ready+1, append(m.took, took)
	return nil
}

// sum says how it went, and is the command's result.
func (m *many) sum(cmd *cobra.Command, total time.Duration, interrupted bool) error {
	text := fmt.Sprintf("%d of %d forks ready in %v", m.ready, m.count, total.Round(time.Millisecond))
	if len(m.took) > 0 {
		slices.Sort(m.took)
		text += fmt.Sprintf("; each took p50 %v, p99 %v", percentile(m.took, 50), percentile(m.took, 99))
	}
	if m.wrong > 0 {
		text += fmt.Sprintf("; %d failed", m.wrong)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "clone: "+text)
	switch {
	case m.untold:
		return fmt.Errorf("ids cannot be printed, so no more forks were started; the %d whose ids were printed go on", m.ready)
	case interrupted:
		return failure(128+int(unix.SIGINT), fmt.Errorf("interrupted: what was starting was ended; the %d that were ready go on", m.ready))
	case m.wrong > 0:
		return exitStatus(statusFailure)
	}
	return nil
}

// percentile of sorted times, by the nearest rank.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[max(0, (len(sorted)*p+99)/100-1)].Round(100 * time.Microsecond)
}
