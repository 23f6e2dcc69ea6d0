package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// meminfo is a field of /proc/meminfo, in bytes; 0 where there is none.
func meminfo(field string) int64 {
	b, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == field+":" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// privateMemory is what a VM's process has for itself, in bytes: anonymous memory. Private_Dirty would count the template's
// pages too where the template is on a tmpfs, whose pages are always dirty, and only one fork has touched them.
type privateMemory struct {
	guest int64 // copies of pages of guest RAM that the guest has changed
	vmm   int64 // everything else: the monitor's own
}

// privateOf reads /proc/PID/smaps.
func privateOf(pid int) (privateMemory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return privateMemory{}, err
	}
	return parseSmaps(string(b)), nil
}

// parseSmaps sums anonymous pages, proc(5). Guest RAM is the mapping of a template's memory.
func parseSmaps(text string) (p privateMemory) {
	guest := false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && !strings.HasSuffix(f[0], ":"):
			guest = len(f) > 5 && strings.HasSuffix(f[5], "/memory")
		case len(f) == 3 && f[0] == "Anonymous:":
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			if guest {
				p.guest += kib << 10
			} else {
				p.vmm += kib << 10
			}
		}
	}
	return p
}
