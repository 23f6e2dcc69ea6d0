package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Killed tells whether the kernel killed a process of the group because its memory limit was reached. The count is there as
// long as the group is, also after its last process.
func Killed(path string) (bool, error) {
	b, err := os.ReadFile(filepath.Join(path, "memory.events"))
	if err != nil {
		return false, err
	}
	return parseKeyed(string(b))["oom_kill"] > 0, nil
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
