package x86

import "math/bits"

// topology is one vCPU's place: one package, one thread per core, APIC id = vCPU number.
type topology struct {
	id    uint32 // of this vCPU
	count uint32 // of all vCPUs
	amd   bool   // the processor is AMD's or Hygon's
}

// idBits is how many bits of the APIC id tell the cores of the package apart.
func (t topology) idBits() uint32 { return uint32(bits.Len32(t.count - 1)) }

// sharing is the "ids sharing" number of a cache leaf: caches of the third level and beyond belong to the package, smaller
// ones to one core.
func (t topology) sharing(level uint32) uint32 {
	if level >= 3 {
		return 1<<t.idBits() - 1
	}
	return 0
}

const (
	featHTT       = 1 << 28 // leaf 1 EDX: EBX[23:16] is valid
	featCMPLegacy = 1 << 1  // leaf 0x80000001 ECX: AMD, HTT means cores
)

// apply writes the topology into e, where e speaks of it (Intel SDM volume 2 CPUID, AMD APM volume 3 appendix E).
func (t topology) apply(e *CPUIDEntry) {
	switch e.Function {
	case 0x1:
		// [31:24] initial APIC id, [23:16] ids in the package, [15:8] CLFLUSH size, [7:0] brand.
		e.EBX = e.EBX&0xffff | 1<<t.idBits()<<16 | t.id<<24
		setBit(&e.EDX, featHTT, t.count > 1)
	case 0x4:
		if e.EAX&0x1f == 0 { // no more caches
			return
		}
		cores := uint32(1)<<t.idBits() - 1
		e.EAX = e.EAX&0x3fff | t.sharing(e.EAX>>5&7)<<14 | min(cores, 0x3f)<<26
	case 0x80000001:
		if t.amd {
			setBit(&e.ECX, featCMPLegacy, t.count > 1)
		}
	case 0x80000008:
		// [15:12] bits of the APIC id, [7:0] cores - 1. Reserved on Intel.
		if !t.amd {
			return
		}
		e.ECX = e.ECX&^0xf0ff | t.idBits()<<12 | (t.count-1)&0xff
	case 0x8000001d:
		if e.EAX&0x1f == 0 {
			return
		}
		e.EAX = e.EAX&0x3fff | t.sharing(e.EAX>>5&7)<<14
	case 0x8000001e:
		e.EAX = t.id
		e.EBX = t.id & 0xff // one thread per core
		e.ECX = 0           // node 0 of one
	}
}

// leafB is the extended topology leaf: threads of a core, cores of the package, end.
func (t topology) leafB() []CPUIDEntry {
	const smt, core = 1 << 8, 2 << 8
	leaf := func(index, shift, count, kind uint32) CPUIDEntry {
		return CPUIDEntry{Function: 0xb, Index: index, Flags: CPUIDSignificantIndex,
			EAX: shift, EBX: count, ECX: kind | index, EDX: t.id}
	}
	return []CPUIDEntry{leaf(0, 0, 1, smt), leaf(1, t.idBits(), t.count, core), leaf(2, 0, 0, 0)}
}

// isAMD reads the vendor out of leaf 0.
func isAMD(entries []CPUIDEntry) bool {
	const auth, hygo = 0x68747541, 0x6f677948 // "AuthenticAMD", "HygonGenuine": EBX has the first four letters
	for _, e := range entries {
		if e.Function == 0 {
			return e.EBX == auth || e.EBX == hygo
		}
	}
	return false
}

func setBit(v *uint32, bit uint32, on bool) {
	*v &^= bit
	if on {
		*v |= bit
	}
}
