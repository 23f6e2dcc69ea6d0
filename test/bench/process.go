package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"clone/internal/config"
	"clone/internal/guestmem"
	"clone/internal/snapshot"
)

// processBench measures `clone fork` as its user meets it, natively: from the start of the process to the first byte that
// the tiny guest prints. The guest of this template does not wait; it prints at once and hangs, and the process is killed.
func processBench(n int) ([]Row, error) {
	dir, err := os.MkdirTemp("", "clone-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := sealTiny(dir); err != nil {
		return nil, fmt.Errorf("tiny template: %w", err)
	}
	var forks, starts []time.Duration
	for range n {
		f, err := forkProcess(dir)
		if err != nil {
			return nil, err
		}
		s, err := startProcess()
		if err != nil {
			return nil, err
		}
		forks, starts = append(forks, f), append(starts, s)
	}
	inits, err := packageInit(min(n, 20))
	if err != nil {
		return nil, err
	}
	return []Row{
		withLimit(compare("`clone fork` as a process: start → guest's first output, tiny guest", forks,
			"`clone version` as a process: start → exit", starts, 0), median(forks), 5*time.Millisecond),
		withLimit(Row{Claim: "package init of clone", Value: spread(inits)}, median(inits), time.Millisecond),
	}, nil
}

// withLimit holds a row to an absolute time.
func withLimit(r Row, got, limit time.Duration) Row {
	r.Budget, r.OK = "p50 ≤ "+short(limit), got <= limit
	return r
}

// sealTiny stores a tiny guest, ready to print, as the template "tiny".
func sealTiny(home string) error {
	t, err := saveTiny(home)
	if err != nil {
		return err
	}
	image, err := os.ReadFile(t.memory)
	if err != nil {
		return err
	}
	mem, err := guestmem.NewAnonymous(config.MinMemoryMiB << 20)
	if err != nil {
		return err
	}
	defer mem.Close()
	if err := mem.WriteAt(image, 0); err != nil {
		return err
	}
	if err := mem.WriteAt([]byte{1, 0, 0, 0}, tinyFlag); err != nil {
		return err
	}
	store, err := snapshot.OpenStore(home)
	if err != nil {
		return err
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	cfg := tinyConfig()
	w, err := store.Create("tiny", snapshot.Manifest{Config: cfg, CPU: snapshot.CPU{BootID: strings.TrimSpace(string(bootID))}})
	if err != nil {
		return err
	}
	defer w.Abort()
	state, err := t.state.MarshalBinary()
	if err != nil {
		return err
	}
	frozen, err := mem.Freeze()
	if err != nil {
		return err
	}
	defer frozen.Close()
	if err := errors.Join(w.State(state), w.Memory(context.Background(), snapshot.Contents{Own: frozen})); err != nil {
		return err
	}
	_, err = w.Commit()
	return err
}

// forkProcess times one `clone fork` until the guest's byte arrives, and ends it.
func forkProcess(home string) (time.Duration, error) {
	cmd := exec.Command("bin/clone", "fork", "--template", "tiny")
	cmd.Env = append(os.Environ(), "CLONE_HOME="+home, "CLONE_RUNTIME_DIR="+filepath.Join(home, "run"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var message strings.Builder
	cmd.Stderr = &message
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var b [1]byte
	_, err = io.ReadFull(out, b[:])
	took := time.Since(began)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || b[0] != 'F' {
		return 0, fmt.Errorf("clone fork printed %q, %v: %s", b[0], err, message.String())
	}
	return took, nil
}

// startProcess times what a process of this program costs at the least.
func startProcess() (time.Duration, error) {
	began := time.Now()
	err := exec.Command("bin/clone", "version").Run()
	return time.Since(began), err
}

// packageInit sums what the runtime says that each package's initialisation took.
func packageInit(n int) ([]time.Duration, error) {
	var out []time.Duration
	for range n {
		cmd := exec.Command("bin/clone", "version")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		var trace strings.Builder
		cmd.Stderr = &trace
		if err := cmd.Run(); err != nil {
			return nil, err
		}
		var total float64 // milliseconds
		for line := range strings.SplitSeq(trace.String(), "\n") {
			// init internal/bytealg @0.008 ms, 0 ms clock, 0 bytes, 0 allocs
			if f := strings.Fields(line); len(f) > 5 && f[0] == "init" {
				ms, err := strconv.ParseFloat(f[4], 64)
				if err != nil {
					return nil, fmt.Errorf("inittrace: %q: %w", line, err)
				}
				total += ms
			}
		}
		out = append(out, time.Duration(total*float64(time.Millisecond)))
	}
	return out, nil
}
