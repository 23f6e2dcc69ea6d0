package x86

// CPUIDEntry has the fields of KVM's struct kvm_cpuid_entry2.
type CPUIDEntry struct {
	Function uint32
	Index    uint32
	Flags    uint32
	EAX      uint32
	EBX      uint32
	ECX      uint32
	EDX      uint32
}

// CPUIDSignificantIndex is KVM_CPUID_FLAG_SIGNIFCANT_INDEX: the entry answers for its Index only.
const CPUIDSignificantIndex uint32 = 1 << 0

// CPUIDOptions are the choices that are not the processor's. The zero value is the default policy.
type CPUIDOptions struct {
	// TSCDeadline says that KVM has KVM_CAP_TSC_DEADLINE_TIMER. KVM_GET_SUPPORTED_CPUID leaves the bit out even then,
	// because it needs an in-kernel APIC.
	TSCDeadline bool
	// Nested leaves VMX and SVM visible. Such a guest can not be snapshotted while its own guest runs.
	Nested bool
	// InvariantTSC leaves the invariant TSC visible. Linux then reads time from the TSC and not from kvm-clock, which is
	// right only while the VM stays on hosts with the same TSC frequency.
	InvariantTSC bool
}

// rule clears feature bits of one leaf, and says why.
type rule struct {
	function, index    uint32
	eax, ebx, ecx, edx uint32 // bits to clear
	why                string
}

const all = ^uint32(0)

// hidden is what no guest sees: it can not be saved and restored, it names parts of the host that a guest must not use,
// or it makes sense on the host's topology only.
var hidden = []rule{
	{function: 0x1, ecx: 1 << 3, why: "MONITOR/MWAIT: a waiting vCPU would keep its host processor"},
	{function: 0x1, ecx: 1<<2 | 1<<15, edx: 1 << 21, why: "DTES64, PDCM, DS: debug store and performance MSRs are not saved"},
	{function: 0x1, ecx: 1<<7 | 1<<8, edx: 1<<22 | 1<<29 | 1<<31, why: "EIST, TM2, ACPI, TM, PBE: power and heat are the host's"},
	{function: 0x1, ecx: 1 << 6, why: "SMX: no measured launch"},
	{function: 0x5, eax: all, ebx: all, ecx: all, edx: all, why: "the MONITOR leaf"},
	{function: 0x6, eax: ^uint32(1 << 2), ebx: all, ecx: all, edx: all, why: "all of power management but ARAT: the APIC timer never stops"},
	{function: 0x7, ebx: 1 << 2, ecx: 1 << 30, why: "SGX: enclave memory can not be copied"},
	{function: 0x7, ebx: 1<<12 | 1<<15, why: "RDT monitoring and allocation: host resources"},
	{function: 0x7, ebx: 1 << 25, why: "Intel PT: trace state is not saved"},
	{function: 0x7, edx: 1<<15 | 1<<19, why: "hybrid topology; architectural LBR: its state is not saved"},
	{function: 0x7, edx: 1<<22 | 1<<24 | 1<<25, why: "AMX: 8 KiB more state per vCPU, and a permission to ask for"},
	{function: 0x7, index: 1, eax: 1 << 21, edx: 1 << 8, why: "AMX extensions"},
	{function: 0xa, eax: all, ebx: all, ecx: all, edx: all, why: "performance counters are not saved"},
	{function: 0xd, eax: 1<<17 | 1<<18, why: "AMX tile state"},
	{function: 0xd, index: 1, ecx: 1<<8 | 1<<15, why: "PT and LBR supervisor state"},
	{function: 0x80000001, ecx: 1<<10 | 1<<13 | 1<<15, why: "IBS, WDT, LWP: not saved"},
	{function: 0x80000001, ecx: 1<<23 | 1<<24 | 1<<27 | 1<<28, why: "AMD performance counters (core, NB, TSC, LLC)"},
	{function: 0x80000001, ecx: 1<<19 | 1<<29, why: "NODEID MSR: host topology; MWAITX: as MONITOR"},
}

// dropped leaves are removed whole.
var dropped = map[uint32]string{
	0xf:        "RDT monitoring",
	0x10:       "RDT allocation",
	0x12:       "SGX",
	0x14:       "Intel PT",
	0x1c:       "architectural LBR",
	0x1d:       "AMX tiles",
	0x1e:       "AMX multiply",
	0x1f:       "host topology: leaf 0xb says what a guest needs",
	0x23:       "performance counters, extended",
	0x8000001b: "IBS",
	0x8000001f: "memory encryption: guest memory is shared between forks",
	0x80000020: "AMD QoS",
	0x80000022: "AMD performance counters, version 2",
	0x80000026: "AMD host topology",
}

const (
	featHypervisor  = 1 << 31 // leaf 1 ECX
	featTSCDeadline = 1 << 24 // leaf 1 ECX
	featVMX         = 1 << 5  // leaf 1 ECX
	featSVM         = 1 << 2  // leaf 0x80000001 ECX
	featInvTSC      = 1 << 8  // leaf 0x80000007 EDX
)

// FilterCPUID returns what vCPU number vcpu (from 0) of vcpus sees, from what KVM_GET_SUPPORTED_CPUID reports. entries is
// left as it is.
//
// Kept: everything that KVM can run, save and restore, x2APIC and the KVM leaves at 0x40000000 included. Changed: hypervisor
// bit, TSC deadline, topology (one package, one thread per core, APIC id = vcpu). Hidden: the tables hidden and dropped.
func FilterCPUID(entries []CPUIDEntry, vcpu, vcpus int, opts CPUIDOptions) []CPUIDEntry {
	t := topology{id: uint32(vcpu), count: uint32(max(vcpus, 1)), amd: isAMD(entries)}
	out := make([]CPUIDEntry, 0, len(entries)+3)
	for _, e := range entries {
		if _, drop := dropped[e.Function]; drop || e.Function == 0xb || e.Function == 0xd && (e.Index == 17 || e.Index == 18) {
			continue
		}
		for _, r := range hidden {
			if r.function == e.Function && r.index == e.Index {
				e.EAX &^= r.eax
				e.EBX &^= r.ebx
				e.ECX &^= r.ecx
				e.EDX &^= r.edx
			}
		}
		applyOptions(&e, opts)
		t.apply(&e)
		out = append(out, e)
	}
	fixXsaveSize(out)
	if has(entries, 0xb) {
		out = append(out, t.leafB()...)
	}
	return out
}

func applyOptions(e *CPUIDEntry, opts CPUIDOptions) {
	switch e.Function {
	case 0x1:
		e.ECX |= featHypervisor
		if opts.TSCDeadline {
			e.ECX |= featTSCDeadline
		}
		if !opts.Nested {
			e.ECX &^= featVMX
		}
	case 0x80000001:
		if !opts.Nested {
			e.ECX &^= featSVM
		}
	case 0x8000000a:
		if !opts.Nested {
			e.EAX, e.EBX, e.ECX, e.EDX = 0, 0, 0, 0
		}
	case 0x80000007:
		if !opts.InvariantTSC {
			e.EDX &^= featInvTSC
		}
	}
}

// fixXsaveSize makes leaf 0xd's "size of all states" that of the states which are left (Intel SDM volume 1 §13.2).
// KVM computes the size of the enabled states (EBX) itself.
func fixXsaveSize(entries []CPUIDEntry) {
	const legacyAndHeader = 512 + 64
	size := uint32(legacyAndHeader)
	var user uint64
	for _, e := range entries {
		if e.Function == 0xd && e.Index == 0 {
			user = uint64(e.EDX)<<32 | uint64(e.EAX)
		}
	}
	for _, e := range entries {
		if e.Function == 0xd && e.Index >= 2 && e.Index < 64 && user>>e.Index&1 == 1 {
			size = max(size, e.EAX+e.EBX) // size and offset of the state
		}
	}
	for i := range entries {
		if e := &entries[i]; e.Function == 0xd && e.Index == 0 {
			e.ECX = min(e.ECX, size)
		}
	}
}

func has(entries []CPUIDEntry, function uint32) bool {
	for _, e := range entries {
		if e.Function == function {
			return true
		}
	}
	return false
}
