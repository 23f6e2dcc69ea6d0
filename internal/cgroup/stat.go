package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Kills are what the kernel has done to a group for want of memory (memory.events).
type Kills struct {
	Processes uint64 // killed, whoever's memory ran out
	AtLimit   uint64 // times that the group was at its own limit and nothing could be reclaimed
}

// KillsOf reads them. They are there as long as the group is, also after its last process.
func KillsOf(path string) (Kills, error) {
	b, err := os.ReadFile(filepath.Join(path, "memory.events"))
	if err != nil {
		return Kills{}, err
	}
	m := parseKeyed(string(b))
	return Kills{Processes: m["oom_kill"], AtLimit: m["oom"]}, nil
}

// Kernel is what the kernel holds for a group, in bytes (memory.stat).
type Kernel struct {
	Total               uint64 // all of it, the rest included
	PageTables          uint64 // of processes
	SecondaryPageTables uint64 // KVM's, which translate guest-physical addresses
	Slab                uint64 // structures of up to a few pages
	Stacks              uint64 // of threads in the kernel
	PerCPU              uint64
}

// KernelOf reads what the kernel holds for a group.
func KernelOf(path string) (Kernel, error) {
	b, err := os.ReadFile(filepath.Join(path, "memory.stat"))
	if err != nil {
		return Kernel{}, err
	}
	m := parseKeyed(string(b))
	k := Kernel{
		Total: m["kernel"], PageTables: m["pagetables"], SecondaryPageTables: m["sec_pagetables"],
		Slab: m["slab"], Stacks: m["kernel_stack"], PerCPU: m["percpu"],
	}
	// Linux before 5.18 has no sum.
	k.Total = max(k.Total, k.PageTables+k.SecondaryPageTables+k.Slab+k.Stacks+k.PerCPU)
	return k, nil
}

// parseKeyed reads a flat-keyed file: "key value" lines. What is no number is left out.
func parseKeyed(text string) map[string]uint64 {
	m := map[string]uint64{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			m[key] = n
		}
	}
	return m
}
