package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is where figures come from.
type Machine struct {
	Name      string // as in the rows
	Processor string // model, and how many
	Memory    string
	Kernel    string // release
	KVM       string // svm, vmx, or what there is instead
}

// thisMachine describes the machine that runs this program.
func thisMachine(name string) Machine {
	m := Machine{Name: name, KVM: "neither svm nor vmx"}
	processors, model := 0, ""
	b, _ := os.ReadFile("/proc/cpuinfo") // unreadable, the processor stays unknown
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "processor":
			processors++
		case "model name":
			model = strings.TrimSpace(value)
		case "flags":
			for _, flag := range strings.Fields(value) {
				if flag == "svm" || flag == "vmx" {
					m.KVM = flag
				}
			}
		}
	}
	m.Processor = fmt.Sprintf("%d × %s", processors, model)
	m.Memory = fmt.Sprintf("%.0f GiB", float64(meminfo("MemTotal"))/(1<<30))
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	return m
}
