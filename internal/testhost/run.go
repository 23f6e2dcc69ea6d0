package testhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Run runs the command of cfg where [Detect] says, and returns its exit status,
// 128+n when signal n ended it. An error means that there is no exit status: one
// that wraps ErrTimeout or ctx's error when the command was cut short, a
// *HostError when the emulated host failed, or another when nothing was started.
// Nothing that Run started is left when it returns.
func Run(ctx context.Context, cfg Config) (int, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return 0, err
	}
	choice := Detect()
	if cfg.Emulated && choice.Direct {
		choice = Choice{Reason: "as asked"}
	}
	fmt.Fprintf(cfg.Log, "running in %s\n", choice)

	if cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, cfg.Timeout, ErrTimeout)
		defer cancel()
	}
	var exit int
	if choice.Direct {
		exit, err = runDirect(ctx, cfg)
	} else {
		exit, err = runEmulated(ctx, cfg)
	}
	if err != nil && context.Cause(ctx) == ErrTimeout {
		err = fmt.Errorf("%w after %s", ErrTimeout, cfg.Timeout)
	}
	return exit, err
}

// runDirect runs the command of a complete cfg on this machine.
func runDirect(ctx context.Context, cfg Config) (int, error) {
	// For Pdeathsig, as in runEmulated.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, cfg.Command[0], cfg.Command[1:]...)
	cmd.Dir = cfg.Dir
	cmd.Env = append(PassedEnv(os.Environ()), cfg.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = cfg.Stdin, cfg.Stdout, cfg.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return 0, err
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}
