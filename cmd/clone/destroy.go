package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"clone/internal/control"
)

type destroyRequest struct {
	force   bool
	timeout time.Duration // for the guest to shut down
}

func destroyCommand() *cobra.Command {
	var ref string
	var all bool
	var req destroyRequest
	cmd := &cobra.Command{
		Use:   "destroy [VM...]",
		Short: "End VMs: ask the guest to shut down, then insist",
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.timeout < 0 || req.timeout > 24*time.Hour {
				return usageErrorf("--timeout is 0s to 24h")
			}
			if ref != "" {
				args = append(args, ref)
			}
			registry, err := control.Open()
			if err != nil {
				return err
			}
			vms, err := whichVMs(registry, args, all)
			if err != nil {
				return err
			}
			return destroyAll(cmd, registry, vms, req)
		},
	}
	addVMFlag(cmd, &ref)
	cmd.Flags().BoolVar(&all, "all", false, "end every VM")
	cmd.Flags().BoolVar(&req.force, "force", false, "do not ask the guest")
	cmd.Flags().DurationVar(&req.timeout, "timeout", 10*time.Second, "how long the guest may take to shut down")
	return cmd
}

// whichVMs finds all that are named, each once, before anything is done to one of them.
func whichVMs(registry *control.Registry, refs []string, all bool) ([]control.Info, error) {
	if all {
		if len(refs) > 0 {
			return nil, usageErrorf("--all and a VM's name exclude each other")
		}
		return registry.List()
	}
	if len(refs) == 0 {
		refs = []string{""}
	}
	var vms []control.Info
	seen := map[string]bool{}
	for _, ref := range refs {
		vm, err := registry.Find(ref)
		if err != nil {
			return nil, err
		}
		if !seen[vm.ID] {
			vms = append(vms, vm)
		}
		seen[vm.ID] = true
	}
	return vms, nil
}

// destroyAll ends VMs side by side, and prints the id of each that is gone.
func destroyAll(cmd *cobra.Command, registry *control.Registry, vms []control.Info, req destroyRequest) error {
	var mu sync.Mutex // guards the output and errs
	var errs []error
	var wg sync.WaitGroup
	limit := make(chan struct{}, 64)
	for _, vm := range vms {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			note, err := destroyVM(cmd.Context(), registry, vm, req)
			mu.Lock()
			defer mu.Unlock()
			if note != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "clone: VM %s: %s\n", vm, note)
			}
			if err != nil {
				errs = append(errs, err)
				return
			}
			_, _ = io.WriteString(cmd.OutOrStdout(), vm.ID+"\n")
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

const (
	forcePatience = 2 * time.Second  // for the VM's process to stop its machine without asking the guest
	exitPatience  = 5 * time.Second  // for the process to end after its machine has stopped
	killPatience  = 10 * time.Second // for the kernel to end a killed process
)

// destroyVM ends one VM and returns when it is gone, with a note where asking the guest was not enough.
func destroyVM(ctx context.Context, registry *control.Registry, vm control.Info, req destroyRequest) (note string, err error) {
	p, err := registry.OpenProcess(vm)
	if errors.Is(err, control.ErrGone) {
		return "", registry.Reap(vm.ID)
	}
	if err != nil {
		return "", err
	}
	defer p.Close()
	stop := func(force bool, patience time.Duration) error { return stopVM(ctx, registry, vm, p, force, patience) }

	err = errors.New("not asked")
	if !req.force {
		if err = stop(false, req.timeout); err != nil {
			note = fmt.Sprintf("did not shut down, so it was stopped: %v", err)
		}
	}
	if err != nil {
		if err = stop(true, forcePatience); err != nil {
			note = fmt.Sprintf("did not stop, so it was killed: %v", err)
		}
	}
	var how string
	if err != nil {
		how = fmt.Sprintf("clone destroy killed its process (%d), which did not stop by itself", vm.PID)
		if err := p.Kill(); err != nil {
			return note, err
		}
		wait, cancel := context.WithTimeout(ctx, killPatience)
		defer cancel()
		if err := p.Wait(wait); err != nil {
			return note, fmt.Errorf("VM %s: process %d is still there %v after SIGKILL: %w", vm, vm.PID, killPatience, err)
		}
	}
	return note, registry.ReapAs(vm.ID, how)
}

// stopVM asks a VM to end, and returns nil when its process has ended.
func stopVM(ctx context.Context, registry *control.Registry, vm control.Info, p *control.Process, force bool, patience time.Duration) error {
	client := control.NewClient(registry.ControlSocket(vm.ID))
	shutdown := func() error {
		ask, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return client.Shutdown(ask, control.ShutdownRequest{Force: force, TimeoutSeconds: patience.Seconds()})
	}
	err := shutdown()
	for began := time.Now(); errors.Is(err, fs.ErrNotExist) && time.Since(began) < exitPatience; err = shutdown() {
		// A VM that ends in order loses its socket first, and is not to be killed for that. One that starts will have it.
		if endsWithin(ctx, p, 50*time.Millisecond) {
			return nil
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no end within %v", patience)
	case err != nil && !errors.Is(err, control.ErrGone):
		return err
	}
	if !endsWithin(ctx, p, exitPatience) {
		return fmt.Errorf("the machine stopped, but its process did not end within %v", exitPatience)
	}
	return nil
}

func endsWithin(ctx context.Context, p *control.Process, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return p.Wait(ctx) == nil
}
