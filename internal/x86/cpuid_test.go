package x86

import (
	"encoding/binary"
	"testing"
)

// lookup answers as CPUID with (function, index) would.
func lookup(entries []CPUIDEntry, function, index uint32) (CPUIDEntry, bool) {
	for _, e := range entries {
		if e.Function == function && (e.Index == index || e.Flags&CPUIDSignificantIndex == 0) {
			return e, true
		}
	}
	return CPUIDEntry{}, false
}

// everything is a processor with all bits of every leaf that the policy speaks of.
func everything() []CPUIDEntry {
	out := []CPUIDEntry{{Function: 0, EBX: 0x68747541, EDX: 0x69746e65, ECX: 0x444d4163}}
	add := func(function, index, flags uint32) {
		out = append(out, CPUIDEntry{function, index, flags, all, all, all, all})
	}
	for _, f := range []uint32{1, 5, 6, 0xa, 0x40000001, 0x80000001, 0x80000007, 0x80000008, 0x8000000a, 0x8000001e} {
		add(f, 0, 0)
	}
	for f := range dropped {
		add(f, 0, CPUIDSignificantIndex)
	}
	for i := range uint32(2) {
		add(7, i, CPUIDSignificantIndex)
	}
	cache := func(f, i, level uint32) {
		out = append(out, CPUIDEntry{Function: f, Index: i, Flags: CPUIDSignificantIndex, EAX: 0xfc000000 | 0xfff<<14 | level<<5 | 1})
	}
	for _, f := range []uint32{4, 0x8000001d} {
		cache(f, 0, 1)
		cache(f, 1, 3)
		out = append(out, CPUIDEntry{Function: f, Index: 2, Flags: CPUIDSignificantIndex})
	}
	for i := range uint32(4) {
		add(0xb, i, CPUIDSignificantIndex)
	}
	x := func(i, a, b, c uint32) {
		out = append(out, CPUIDEntry{Function: 0xd, Index: i, Flags: CPUIDSignificantIndex, EAX: a, EBX: b, ECX: c})
	}
	x(0, 0x60207, 11008, 11008)
	x(1, 0x1f, 0, 0x1ff00)
	x(2, 256, 576, 0)
	x(9, 8, 2688, 0)
	x(17, 64, 2752, 2)
	x(18, 8192, 2816, 6)
	return out
}

func TestFilterCPUIDHides(t *testing.T) {
	in := everything()
	before := append([]CPUIDEntry(nil), in...)
	out := FilterCPUID(in, 0, 1, CPUIDOptions{})
	for _, r := range hidden {
		e, ok := lookup(out, r.function, r.index)
		if !ok {
			t.Fatalf("leaf %#x is gone", r.function)
		}
		if e.EAX&r.eax|e.EBX&r.ebx|e.ECX&r.ecx|e.EDX&r.edx != 0 {
			t.Errorf("leaf %#x.%d shows: %s", r.function, r.index, r.why)
		}
		if r.why == "" {
			t.Errorf("leaf %#x has no reason", r.function)
		}
	}
	for f, why := range dropped {
		if _, ok := lookup(out, f, 0); ok {
			t.Errorf("leaf %#x is there: %s", f, why)
		}
	}
	for i := range in {
		if in[i] != before[i] {
			t.Fatalf("the input was changed at %d", i)
		}
	}
	if e, _ := lookup(out, 0x40000001, 0); e.EAX != all {
		t.Errorf("KVM features %#x were changed", e.EAX)
	}
	one, _ := lookup(out, 1, 0)
	if const21 := uint32(1 << 21); one.ECX&const21 == 0 || one.ECX&featHypervisor == 0 || one.ECX&featTSCDeadline == 0 {
		t.Errorf("leaf 1 ECX %#x lost x2APIC, TSC deadline or the hypervisor bit", one.ECX)
	}
	if e, _ := lookup(out, 0xd, 0); e.EAX != 0x207 || e.ECX != 2696 {
		t.Errorf("xsave states %#x in %d bytes, want 0x207 in 2696", e.EAX, e.ECX)
	}
	if _, ok := lookup(out, 0xd, 18); ok {
		t.Error("the AMX tile state is there")
	}
}

func TestFilterCPUIDOptions(t *testing.T) {
	bit := func(opts CPUIDOptions, function uint32, mask uint32, edx bool) bool {
		e, _ := lookup(FilterCPUID(everything(), 0, 1, opts), function, 0)
		if edx {
			return e.EDX&mask != 0
		}
		return e.ECX&mask != 0
	}
	for _, tc := range []struct {
		name     string
		opts     CPUIDOptions
		function uint32
		mask     uint32
		edx      bool
		want     bool
	}{
		{"vmx by default", CPUIDOptions{}, 1, featVMX, false, false},
		{"vmx nested", CPUIDOptions{Nested: true}, 1, featVMX, false, true},
		{"svm by default", CPUIDOptions{}, 0x80000001, featSVM, false, false},
		{"svm nested", CPUIDOptions{Nested: true}, 0x80000001, featSVM, false, true},
		{"svm leaf by default", CPUIDOptions{}, 0x8000000a, 1, true, false},
		{"svm leaf nested", CPUIDOptions{Nested: true}, 0x8000000a, 1, true, true},
		{"invariant tsc by default", CPUIDOptions{}, 0x80000007, featInvTSC, true, false},
		{"invariant tsc asked for", CPUIDOptions{InvariantTSC: true}, 0x80000007, featInvTSC, true, true},
	} {
		if got := bit(tc.opts, tc.function, tc.mask, tc.edx); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	bare := []CPUIDEntry{{Function: 1}}
	if e, _ := lookup(FilterCPUID(bare, 0, 1, CPUIDOptions{}), 1, 0); e.ECX&featTSCDeadline != 0 {
		t.Error("TSC deadline appeared unasked")
	}
	if e, _ := lookup(FilterCPUID(bare, 0, 1, CPUIDOptions{TSCDeadline: true}), 1, 0); e.ECX&featTSCDeadline == 0 {
		t.Error("TSC deadline is missing")
	}
}

func TestFilterCPUIDTopology(t *testing.T) {
	for _, tc := range []struct{ vcpu, vcpus, bits uint32 }{{0, 1, 0}, {1, 2, 1}, {2, 3, 2}, {15, 16, 4}} {
		out := FilterCPUID(everything(), int(tc.vcpu), int(tc.vcpus), CPUIDOptions{})
		get := func(f, i uint32) CPUIDEntry {
			e, ok := lookup(out, f, i)
			if !ok {
				t.Fatalf("no leaf %#x.%d", f, i)
			}
			return e
		}
		if e := get(1, 0); e.EBX>>24 != tc.vcpu || e.EBX>>16&0xff != 1<<tc.bits || e.EDX>>28&1 == 1 != (tc.vcpus > 1) {
			t.Errorf("%+v: leaf 1 ebx %#x edx %#x", tc, e.EBX, e.EDX)
		}
		if e := get(4, 0); e.EAX>>14&0xfff != 0 || e.EAX>>26 != 1<<tc.bits-1 {
			t.Errorf("%+v: first level cache %#x", tc, e.EAX)
		}
		if e := get(4, 1); e.EAX>>14&0xfff != 1<<tc.bits-1 {
			t.Errorf("%+v: third level cache %#x", tc, e.EAX)
		}
		if e := get(4, 2); e.EAX != 0 {
			t.Errorf("%+v: the end of the cache leaf is %#x", tc, e.EAX)
		}
		if e := get(0xb, 0); e.EAX != 0 || e.EBX != 1 || e.ECX != 0x100 || e.EDX != tc.vcpu {
			t.Errorf("%+v: threads %+v", tc, e)
		}
		if e := get(0xb, 1); e.EAX != tc.bits || e.EBX != tc.vcpus || e.ECX != 0x201 || e.EDX != tc.vcpu {
			t.Errorf("%+v: cores %+v", tc, e)
		}
		if e := get(0xb, 2); e.EBX != 0 || e.ECX != 2 {
			t.Errorf("%+v: end of leaf 0xb %+v", tc, e)
		}
		if _, ok := lookup(out, 0xb, 3); ok {
			t.Errorf("%+v: the host's leaf 0xb is still there", tc)
		}
		if e := get(0x80000008, 0); e.ECX&0xff != tc.vcpus-1 || e.ECX>>12&0xf != tc.bits {
			t.Errorf("%+v: core count %#x", tc, e.ECX)
		}
		if e := get(0x80000001, 0); e.ECX&featCMPLegacy != 0 != (tc.vcpus > 1) {
			t.Errorf("%+v: CMP_LEGACY in %#x", tc, e.ECX)
		}
		if e := get(0x8000001d, 1); e.EAX>>14&0xfff != 1<<tc.bits-1 {
			t.Errorf("%+v: AMD third level cache %#x", tc, e.EAX)
		}
		if e := get(0x8000001e, 0); e.EAX != tc.vcpu || e.EBX != tc.vcpu || e.ECX != 0 {
			t.Errorf("%+v: extended APIC id %+v", tc, e)
		}
	}
}

func TestFilterCPUIDIntelHasNoAMDTopology(t *testing.T) {
	in := []CPUIDEntry{{Function: 0, EBX: 0x756e6547}, {Function: 0x80000001}, {Function: 0x80000008}}
	out := FilterCPUID(in, 1, 2, CPUIDOptions{})
	for _, f := range []uint32{0x80000001, 0x80000008} {
		if e, _ := lookup(out, f, 0); e.ECX != 0 {
			t.Errorf("leaf %#x ecx %#x", f, e.ECX)
		}
	}
}

func FuzzFilterCPUID(f *testing.F) {
	var seed []byte
	for _, e := range everything() {
		seed, _ = binary.Append(seed, binary.LittleEndian, e)
	}
	f.Add(seed, 3, 16)
	f.Add([]byte{}, -1, 0)
	f.Fuzz(func(t *testing.T, raw []byte, vcpu, vcpus int) {
		var in []CPUIDEntry
		for len(raw) >= 28 {
			var e CPUIDEntry
			if _, err := binary.Decode(raw, binary.LittleEndian, &e); err != nil {
				t.Fatal(err)
			}
			in, raw = append(in, e), raw[28:]
		}
		for _, e := range FilterCPUID(in, vcpu, vcpus, CPUIDOptions{}) {
			if e.Function == 1 && (e.ECX&featVMX != 0 || e.ECX&featHypervisor == 0) {
				t.Fatalf("leaf 1: %+v", e)
			}
		}
	})
}
