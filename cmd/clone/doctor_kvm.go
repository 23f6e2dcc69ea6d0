package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"clone/internal/kvm"
)

// withoutKVM is what can be done where no hardware KVM is to be had.
const withoutKVM = "use a host with hardware virtualisation; `make demo` runs everything in an emulated one meanwhile"

func (h host) processor() finding {
	f := finding{Name: "processor"}
	vendor := virtualisation(h.read("/proc/cpuinfo"))
	switch {
	case vendor != "":
		f.State, f.Detail = stateOK, "has "+vendor
	case h.exists("/dev/kvm"):
		f.State = stateMissing
		f.Detail = "has neither vmx nor svm, so /dev/kvm is paravirtual: it cannot run stock kernels"
		f.Remedy = withoutKVM
	default:
		f.State, f.Detail = stateMissing, "has neither vmx nor svm"
		f.Remedy = "turn virtualisation on in the firmware, or nested virtualisation on in the hypervisor; or " + withoutKVM
	}
	return f
}

// virtualisation returns "vmx" or "svm" where the first processor in the text of /proc/cpuinfo has it.
func virtualisation(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) != "flags" {
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

// neededCapabilities are those that no VM of ours can do without.
var neededCapabilities = []struct {
	name   string
	number int
}{
	{"IRQCHIP", kvm.CapIRQChip}, {"USER_MEMORY", kvm.CapUserMemory}, {"PIT2", kvm.CapPIT2},
	{"IRQFD", kvm.CapIRQFD}, {"IOEVENTFD", kvm.CapIOEventFD}, {"MP_STATE", kvm.CapMPState},
	{"ADJUST_CLOCK", kvm.CapAdjustClock}, {"VCPU_EVENTS", kvm.CapVCPUEvents}, {"DEBUGREGS", kvm.CapDebugRegs},
	{"XSAVE", kvm.CapXSave}, {"IMMEDIATE_EXIT", kvm.CapImmediateExit},
}

func (h host) kvm() finding {
	f := finding{Name: "KVM"}
	system, err := kvm.Open(h.path("/dev/kvm"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.State, f.Detail = stateMissing, "/dev/kvm does not exist"
		f.Remedy = "modprobe kvm_intel or kvm_amd; " + withoutKVM
		return f
	case errors.Is(err, fs.ErrPermission):
		f.State, f.Detail = stateMissing, "/dev/kvm may not be opened"
		f.Remedy = "run as root, or: usermod -aG kvm $USER, and log in again"
		return f
	case err != nil:
		f.State, f.Detail, f.Remedy = stateMissing, err.Error(), withoutKVM
		return f
	}
	defer system.Close()
	if lacking := lackingCapabilities(system.CheckExtension); len(lacking) > 0 {
		f.State, f.Detail = stateMissing, "KVM lacks "+strings.Join(lacking, ", ")
		f.Remedy = "use a newer kernel, or " + withoutKVM
		return f
	}
	f.State = stateOK
	f.Detail = fmt.Sprintf("/dev/kvm opens (API 12) and has every capability needed; up to %d memory slots and %d vCPUs",
		system.CheckExtension(kvm.CapNrMemslots), system.CheckExtension(kvm.CapMaxVCPUs))
	return f
}

// lackingCapabilities names the needed capabilities that check does not find.
func lackingCapabilities(check func(int) int) []string {
	var lacking []string
	for _, c := range neededCapabilities {
		if check(c.number) == 0 {
			lacking = append(lacking, "KVM_CAP_"+c.name)
		}
	}
	return lacking
}
