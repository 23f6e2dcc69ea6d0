package cgroup

import (
	"errors"
	"math"
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

// Usage is what a group has of memory, in bytes.
type Usage struct {
	Max     uint64 // its limit; the greatest number where there is none
	Current uint64 // all that is charged to it
	Anon    uint64 // of that, pages of processes that are no file's
	File    uint64 // of that, pages of files that can be dropped or written out
}

// Room is how much more the group can have, bytes.
func (u Usage) Room() uint64 {
	return u.Max - min(u.Max, u.Current-min(u.Current, u.File))
}

// UsageOf reads it.
func UsageOf(path string) (u Usage, err error) {
	number := func(name string) (n uint64) {
		b, readErr := os.ReadFile(filepath.Join(path, name))
		text := strings.TrimSpace(string(b))
		if readErr == nil && text == "max" {
			return math.MaxUint64
		}
		if readErr == nil {
			n, readErr = strconv.ParseUint(text, 10, 64)
		}
		err = errors.Join(err, readErr)
		return n
	}
	u.Max, u.Current = number("memory.max"), number("memory.current")
	b, readErr := os.ReadFile(filepath.Join(path, "memory.stat"))
	m := parseKeyed(string(b))
	u.Anon, u.File = m["anon"], m["inactive_file"]+m["active_file"]
	return u, errors.Join(err, readErr)
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
