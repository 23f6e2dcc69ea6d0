package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"clone/internal/control"
)

// usage is what a VM takes of the host, and the sum of what it alone is the cause of.
type usage struct {
	control.Memory
	Cost uint64 `json:"cost"` // by how much it makes MemAvailable fall
}

func usageOf(m control.Memory) usage { return usage{m, m.Cost()} }

// vmUsage is a line of clone list, and of clone status of several.
type vmUsage struct {
	control.Info
	UptimeSeconds float64 `json:"uptime_seconds"`
	Memory        usage   `json:"memory"`
}

// measure measures VMs side by side. Those that end meanwhile are left out, and reaped as those that had ended before: a
// process that is ending has no memory to be seen a moment before its files are closed.
func measure(ctx context.Context, registry *control.Registry, vms []control.Info) ([]vmUsage, error) {
	const atOnce = 8
	found := make([]*vmUsage, len(vms))
	errs := make([]error, len(vms))
	limit := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, vm := range vms {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			vm = located(ctx, registry, vm)
			m, err := control.MemoryOf(vm)
			switch {
			case err == nil:
				found[i] = &vmUsage{vm, time.Since(vm.Created).Seconds(), usageOf(m)}
			case !errors.Is(err, control.ErrGone):
				errs[i] = err
			case awaitGone(registry, vm):
				errs[i] = registry.Reap(vm.ID)
			}
		})
	}
	wg.Wait()
	list := make([]vmUsage, 0, len(vms))
	for _, u := range found {
		if u != nil {
			list = append(list, *u)
		}
	}
	return list, errors.Join(errs...)
}

// located is a VM whose guest RAM can be told: one that starts stores where it is when it is ready, but says it before.
func located(ctx context.Context, registry *control.Registry, vm control.Info) control.Info {
	const patience = 200 * time.Millisecond
	if vm.RAM != "" {
		return vm
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if live, err := control.NewClient(registry.ControlSocket(vm.ID)).Info(ctx); err == nil {
		return live
	}
	return vm
}

// overview is clone status of all VMs.
type overview struct {
	VMs   []vmUsage          `json:"vms"`
	Total total              `json:"total"`
	Host  control.HostMemory `json:"host"`
}

// total is the sum of several VMs, in bytes.
type total struct {
	VMs        int    `json:"vms"`
	Memory     usage  `json:"memory"`
	Unshared   uint64 `json:"unshared"`   // guest RAM that they would take if each had its own copy of what it touched
	Configured uint64 `json:"configured"` // guest RAM that they were promised
}

func overviewOf(ctx context.Context, registry *control.Registry) (overview, error) {
	infos, listErr := registry.List()
	vms, err := measure(ctx, registry, infos)
	o := overview{VMs: vms, Total: totalOf(vms)}
	host, hostErr := control.ReadHostMemory()
	o.Host = host
	return o, errors.Join(listErr, err, hostErr)
}

func totalOf(vms []vmUsage) total {
	t := total{VMs: len(vms)}
	var sum control.Memory
	for _, vm := range vms {
		sum = sum.Add(vm.Memory.Memory)
		t.Unshared += vm.Memory.Guest.Resident + vm.Memory.Guest.Swapped
		t.Configured += vm.MemoryMiB << 20
	}
	t.Memory = usageOf(sum)
	return t
}
