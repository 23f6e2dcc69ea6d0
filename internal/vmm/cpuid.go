package vmm

import (
	"fmt"
	"strings"

	"clone/internal/kvm"
	"clone/internal/x86"
)

// bootCPUID is what CPUID tells vCPU id of a machine that boots here.
func (m *Machine) bootCPUID(id int, tscDeadline bool) ([]kvm.CPUIDEntry, error) {
	host, err := m.supportedCPUID()
	if err != nil {
		return nil, err
	}
	plain := make([]x86.CPUIDEntry, len(host))
	for i, e := range host {
		plain[i] = x86.CPUIDEntry{Function: e.Function, Index: e.Index, Flags: e.Flags, EAX: e.EAX, EBX: e.EBX, ECX: e.ECX, EDX: e.EDX}
	}
	plain = x86.FilterCPUID(plain, id, m.cfg.VCPUs, x86.CPUIDOptions{TSCDeadline: tscDeadline})
	out := make([]kvm.CPUIDEntry, len(plain))
	for i, e := range plain {
		out[i] = kvm.CPUIDEntry{Function: e.Function, Index: e.Index, Flags: e.Flags, EAX: e.EAX, EBX: e.EBX, ECX: e.ECX, EDX: e.EDX}
	}
	return out, nil
}

// featureWords are the CPUID words whose bits are features that a guest may be using. A snapshot needs them all.
var featureWords = []struct {
	function, index uint32
	register        string
	ignore          uint32 // bits that KVM provides by itself, whatever the processor
}{
	{0x1, 0, "ecx", 1<<31 | 1<<24 | 1<<27}, // hypervisor, TSC deadline, OSXSAVE
	{0x1, 0, "edx", 1 << 28},               // HTT: topology
	{0x7, 0, "ebx", 0},
	{0x7, 0, "ecx", 1 << 4}, // OSPKE
	{0x7, 0, "edx", 0},
	{0x7, 1, "eax", 0},
	{0xd, 0, "eax", 0},
	{0xd, 1, "eax", 0},
	{0x80000001, 0, "ecx", 1<<1 | 1<<22}, // CmpLegacy, TopologyExtensions
	{0x80000001, 0, "edx", 0},
	{0x80000008, 0, "ebx", 0},
	{0x40000001, 0, "eax", 0},
}

func word(list []kvm.CPUIDEntry, function, index uint32, register string) uint32 {
	for _, e := range list {
		if e.Function == function && e.Index == index {
			return map[string]uint32{"eax": e.EAX, "ebx": e.EBX, "ecx": e.ECX, "edx": e.EDX}[register]
		}
	}
	return 0
}

func vendor(list []kvm.CPUIDEntry) string {
	var b []byte
	for _, r := range []string{"ebx", "edx", "ecx"} {
		w := word(list, 0, 0, r)
		b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	return string(b)
}

// checkCPUID refuses a saved guest that uses what this host's processor does not have, and says what that is.
func checkCPUID(saved, host []kvm.CPUIDEntry) error {
	if s, h := vendor(saved), vendor(host); s != h {
		return fmt.Errorf("the snapshot is of a processor of %s, this host has one of %s", s, h)
	}
	var missing []string
	for _, w := range featureWords {
		lost := word(saved, w.function, w.index, w.register) &^ word(host, w.function, w.index, w.register) &^ w.ignore
		for bit := range 32 {
			if lost&(1<<bit) != 0 {
				missing = append(missing, featureName(w.function, w.index, w.register, bit))
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the snapshot needs processor features that this host lacks: %s", strings.Join(missing, ", "))
	}
	return nil
}

// CPUVendor is the processor vendor that CPUID tells, such as "AuthenticAMD".
func (m *Machine) CPUVendor() (string, error) {
	host, err := m.supportedCPUID()
	return vendor(host), err
}
