package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"clone/internal/cgroup"
	"clone/internal/control"
)

// limitFlags are what run and fork take about the host's memory and processors. They are of one VM, and no part of a template.
type limitFlags struct {
	memory size
	cpus   float64
	ksm    string
}

func (f *limitFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(&f.memory, "mem-max", "the most memory of the host that the VM may take, such as 300M or 1G: guest RAM it has changed, its process, and the kernel's for it; at the limit it is ended")
	flags.Float64Var(&f.cpus, "cpu-max", 0, "the most processor time that the VM may take, in processors, such as 0.5 or 2")
	flags.StringVar(&f.ksm, "ksm", "on", "on or off: let the host merge pages of guest RAM that are equal to others', where its administrator switched that on")
}

// check finds what is wrong on the command line.
func (f *limitFlags) check(cmd *cobra.Command) error {
	for name, given := range map[string]bool{"mem-max": f.memory != 0, "cpu-max": f.cpus != 0} {
		if cmd.Flags().Changed(name) && !given {
			return usageErrorf("--%s 0 is no limit: leave it out", name)
		}
	}
	if err := f.limits().Check(); err != nil {
		return usageErrorf("%v", err)
	}
	if f.ksm != "on" && f.ksm != "off" {
		return usageErrorf("--ksm=%s: it is on or off", f.ksm)
	}
	return nil
}

func (f *limitFlags) limits() cgroup.Limits {
	return cgroup.Limits{Memory: uint64(f.memory), CPU: f.cpus}
}

// size is a flag's number of bytes: "300M".
type size uint64

// String implements pflag.Value.
func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	return control.SizeText(uint64(*s))
}

// Type implements pflag.Value.
func (s *size) Type() string { return "SIZE" }

// Set implements pflag.Value. The units are powers of 1024, as the kernel has them: K, M, G, T, with or without iB or B.
func (s *size) Set(text string) error {
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(text)), "B"), "I")
	shift := 0
	if n := len(number); n > 0 {
		if unit := strings.IndexByte("KMGT", number[n-1]); unit >= 0 {
			shift, number = 10*(unit+1), number[:n-1]
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	bytes := v * float64(uint64(1)<<shift)
	if err != nil || math.IsNaN(bytes) || bytes < 0 || bytes > 1<<53 {
		return fmt.Errorf("%q is no size: 300M, 1.5G", text)
	}
	*s = size(bytes)
	return nil
}
