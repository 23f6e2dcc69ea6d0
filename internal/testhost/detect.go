package testhost

import (
	"fmt"
	"os"
	"strings"
)

// A Choice is where commands run on this machine, and why.
type Choice struct {
	Direct bool   // on this machine itself, with hardware KVM
	Reason string // for a person
}

func (c Choice) String() string {
	if c.Direct {
		return "this machine (" + c.Reason + ")"
	}
	return "an emulated host (" + c.Reason + ")"
}

// Detect chooses hardware KVM where the processor has it and /dev/kvm opens.
// Either alone is not enough: a paravirtual /dev/kvm opens on processors without
// vmx and svm, and cannot run a stock kernel.
func Detect() Choice {
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return Choice{Reason: fmt.Sprintf("the processor's features are unknown: %v", err)}
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err == nil {
		kvm.Close()
	}
	return choose(string(cpuinfo), err)
}

// choose is Detect's decision, given the text of /proc/cpuinfo and the result of
// opening /dev/kvm.
func choose(cpuinfo string, kvmErr error) Choice {
	feature := virtualisationFlag(cpuinfo)
	switch {
	case feature == "" && kvmErr == nil:
		return Choice{Reason: "/dev/kvm opens, but the processor has neither vmx nor svm: it cannot run stock guests"}
	case feature == "":
		return Choice{Reason: "the processor has neither vmx nor svm"}
	case kvmErr != nil:
		return Choice{Reason: fmt.Sprintf("the processor has %s, but KVM does not open: %v", feature, kvmErr)}
	}
	return Choice{Direct: true, Reason: "the processor has " + feature + " and /dev/kvm opens"}
}

// virtualisationFlag returns "vmx" or "svm" where the first processor of cpuinfo
// has it, and "" otherwise.
func virtualisationFlag(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		key, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(key) != "flags" {
			continue
		}
		for _, flag := range strings.Fields(value) {
			if flag == "vmx" || flag == "svm" {
				return flag
			}
		}
		return ""
	}
	return ""
}
