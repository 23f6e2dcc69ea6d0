package vmm

import "fmt"

// featureNames returns the names that /proc/cpuinfo has for the bits of featureWords (arch/x86/include/asm/cpufeatures.h), as far
// as a person may know them; "" and what is beyond the end has none there.
func featureNames() map[string][]string { // not a variable: that would be made at every start
	return map[string][]string{
		"1.0 ecx": {"pni", "pclmulqdq", "dtes64", "monitor", "ds_cpl", "vmx", "smx", "est", "tm2", "ssse3", "cid", "sdbg", "fma", "cx16",
			"xtpr", "pdcm", "", "pcid", "dca", "sse4_1", "sse4_2", "x2apic", "movbe", "popcnt", "tsc_deadline_timer", "aes", "xsave",
			"osxsave", "avx", "f16c", "rdrand", "hypervisor"},
		"1.0 edx": {"fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge", "mca", "cmov", "pat",
			"pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe"},
		"7.0 ebx": {"fsgsbase", "tsc_adjust", "sgx", "bmi1", "hle", "avx2", "", "smep", "bmi2", "erms", "invpcid", "rtm", "cqm", "", "mpx",
			"rdt_a", "avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma", "", "clflushopt", "clwb", "intel_pt", "avx512pf",
			"avx512er", "avx512cd", "sha_ni", "avx512bw", "avx512vl"},
		"7.0 ecx": {"prefetchwt1", "avx512vbmi", "umip", "pku", "ospke", "waitpkg", "avx512_vbmi2", "shstk", "gfni", "vaes", "vpclmulqdq",
			"avx512_vnni", "avx512_bitalg", "tme", "avx512_vpopcntdq", "", "la57", "", "", "", "", "", "rdpid", "", "bus_lock_detect",
			"cldemote", "", "movdiri", "movdir64b", "enqcmd", "sgx_lc", "pks"},
		"7.0 edx": {"", "", "avx512_4vnniw", "avx512_4fmaps", "fsrm", "uintr", "", "", "avx512_vp2intersect", "srbds_ctrl", "md_clear",
			"rtm_always_abort", "", "tsx_force_abort", "serialize", "hybrid", "tsxldtrk", "", "pconfig", "arch_lbr", "ibt", "", "amx_bf16",
			"avx512_fp16", "amx_tile", "amx_int8", "spec_ctrl", "intel_stibp", "flush_l1d", "arch_capabilities", "core_capabilities",
			"spec_ctrl_ssbd"},
		"7.1 eax": {"sha512", "sm3", "sm4", "", "avx_vnni", "avx512_bf16", "", "cmpccxadd", "", "", "fzrm", "fsrs", "fsrc", "", "", "", "", "",
			"", "", "", "amx_fp16", "", "avx_ifma", "", "", "lam"},
		"d.0 eax": {"x87 state", "sse state", "avx state", "bndregs state", "bndcsr state", "opmask state", "zmm_hi256 state",
			"hi16_zmm state", "", "pkru state", "", "", "", "", "", "", "", "tilecfg state", "tiledata state"},
		"d.1 eax": {"xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd"},
		"80000001.0 ecx": {"lahf_lm", "cmp_legacy", "svm", "extapic", "cr8_legacy", "abm", "sse4a", "misalignsse", "3dnowprefetch", "osvw",
			"ibs", "xop", "skinit", "wdt", "", "lwp", "fma4", "tce", "", "nodeid_msr", "", "tbm", "topoext", "perfctr_core", "perfctr_nb", "",
			"bpext", "ptsc", "perfctr_llc", "mwaitx"},
		"80000001.0 edx": {11: "syscall", 19: "mp", 20: "nx", 22: "mmxext", 25: "fxsr_opt", 26: "pdpe1gb", 27: "rdtscp", 29: "lm", 30: "3dnowext",
			31: "3dnow"},
		"80000008.0 ebx": {0: "clzero", 1: "irperf", 2: "xsaveerptr", 4: "rdpru", 9: "wbnoinvd", 12: "amd_ibpb", 14: "amd_ibrs", 15: "amd_stibp",
			24: "amd_ssbd", 25: "virt_ssbd", 28: "amd_psfd"},
		"40000001.0 eax": {0: "kvmclock (old)", 1: "kvm_nop_io_delay", 3: "kvmclock", 4: "kvm_asyncpf", 5: "kvm_steal_time", 6: "kvm_pv_eoi",
			7: "kvm_pv_unhalt", 9: "kvm_pv_tlb_flush", 10: "kvm_asyncpf_vmexit", 11: "kvm_pv_send_ipi", 12: "kvm_poll_control",
			13: "kvm_pv_sched_yield", 14: "kvm_asyncpf_int", 24: "kvmclock_stable"},
	}
}

// featureName is a feature in a message: "avx2 (CPUID 7.0 ebx bit 5)".
func featureName(function, index uint32, register string, bit int) string {
	word := fmt.Sprintf("%x.%d %s", function, index, register)
	text := fmt.Sprintf("CPUID %s bit %d", word, bit)
	if names := featureNames()[word]; bit < len(names) && names[bit] != "" {
		return names[bit] + " (" + text + ")"
	}
	return text
}
