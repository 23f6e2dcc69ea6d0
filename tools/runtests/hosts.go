package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"clone/internal/testhost"
)

// e2eMemoryMiB is the memory of each emulated host: the largest guest has 5 GiB.
const e2eMemoryMiB = "8192"

// e2eShards is the number of emulated hosts that run at once, one processor each.
const e2eShards = 2

// bootMargin is left for a host to boot, and for go test to say what hangs when
// the tests take too long.
const bootMargin = 2 * time.Minute

// host is the stage of that name.
func (s *suite) host(ctx context.Context) error {
	if err := compile(ctx, "./test/hosttest", "bin/hosttest.test"); err != nil {
		return err
	}
	// A stage of its own because these tests start hosts; they must not
	// themselves run in one.
	return s.verbose(ctx, "", asRoot("bin/hosttest.test", "-test.v", "-test.timeout="+(s.timeout-bootMargin).String()))
}

// e2e is the stage of that name.
func (s *suite) e2e(ctx context.Context) error {
	if err := compile(ctx, "./test/e2e", "bin/e2e.test"); err != nil {
		return err
	}
	choice := testhost.Detect()
	fmt.Printf("end-to-end tests run in %s\n", choice)
	shards := e2eShards
	if choice.Direct {
		shards = 1
	}
	errs := make([]error, shards)
	var running sync.WaitGroup
	for i := range shards {
		running.Go(func() {
			prefix := ""
			if shards > 1 {
				prefix = fmt.Sprintf("%d| ", i+1)
			}
			errs[i] = s.verbose(ctx, prefix, asRoot(s.e2eCommand(i+1, shards)...))
		})
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// e2eCommand runs shard number i of n.
func (s *suite) e2eCommand(i, n int) []string {
	cmd := []string{"bin/testhost", "run", "--mem", e2eMemoryMiB, "--timeout", s.timeout.String()}
	if n > 1 {
		cmd = append(cmd, "--env", fmt.Sprintf("CLONE_E2E_SHARD=%d/%d", i, n))
	}
	return append(cmd, "--", "bin/e2e.test", "-test.v", "-test.timeout="+(s.timeout-bootMargin).String())
}

func compile(ctx context.Context, pkg, to string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-o", to, pkg)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile %s: %w", pkg, err)
	}
	if _, err := os.Stat(to); err != nil {
		return fmt.Errorf("%s has no tests", pkg)
	}
	return nil
}

// asRoot returns the command, through sudo where this process is not root. The
// environment stays that of this user.
func asRoot(command ...string) []string {
	if os.Geteuid() == 0 {
		return command
	}
	return slices.Concat([]string{"sudo", "env"}, testhost.PassedEnv(os.Environ()), command)
}

// verbose runs a compiled test with -test.v, shows its output line by line after
// prefix, and counts its results. It must have some.
func (s *suite) verbose(ctx context.Context, prefix string, command []string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout+bootMargin)
	defer cancel()
	var c counts
	out := &lineWriter{prefix: prefix, out: os.Stdout, counts: &c}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	// Not SIGKILL: the test host cleans up on SIGTERM.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	err := cmd.Run()
	out.flush()
	if err != nil && c.bad() == 0 {
		c.add("fail") // the host or the test program died outside a test
		c.explain(prefix+"the host or the test program", out.said)
	}
	if err == nil && c.total() == 0 {
		err = fmt.Errorf("no tests were run")
	}
	s.counts.merge(&c)
	if err != nil {
		return fmt.Errorf("%s%w", prefix, err)
	}
	return nil
}
