package vmm

import (
	"fmt"
	"strings"
	"testing"

	"clone/internal/kvm"
)

// processor is a CPUID table with a vendor and these words: "7.0 ebx" → value.
func processor(vendor string, words map[string]uint32) []kvm.CPUIDEntry {
	word := func(s string) uint32 { return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24 }
	list := []kvm.CPUIDEntry{{Function: 0, EBX: word(vendor[:4]), EDX: word(vendor[4:8]), ECX: word(vendor[8:])}}
	for key, value := range words {
		e := kvm.CPUIDEntry{}
		var register string
		fmt.Sscanf(key, "%x.%d %s", &e.Function, &e.Index, &register)
		*map[string]*uint32{"eax": &e.EAX, "ebx": &e.EBX, "ecx": &e.ECX, "edx": &e.EDX}[register] = value
		list = append(list, e)
	}
	return list
}

// A snapshot is refused where something that its guest may be using is missing, and the message names that.
func TestCheckCPUID(t *testing.T) {
	const amd, intel = "AuthenticAMD", "GenuineIntel"
	for name, test := range map[string]struct {
		saved, host []kvm.CPUIDEntry
		want        []string // nil: no refusal
	}{
		"the same":      {processor(amd, map[string]uint32{"7.0 ebx": 1 << 5}), processor(amd, map[string]uint32{"7.0 ebx": 1 << 5}), nil},
		"a richer host": {processor(amd, nil), processor(amd, map[string]uint32{"7.0 ebx": 1 << 5}), nil},
		"another vendor": {processor(amd, nil), processor(intel, nil),
			[]string{"the snapshot is of a processor of AuthenticAMD, this host has one of GenuineIntel"}},
		"one is missing": {processor(amd, map[string]uint32{"7.0 ebx": 1<<5 | 1<<8}), processor(amd, map[string]uint32{"7.0 ebx": 1 << 8}),
			[]string{"this host lacks: avx2 (CPUID 7.0 ebx bit 5)"}},
		"several are missing": {processor(amd, map[string]uint32{"7.0 ebx": 1 << 16, "d.1 eax": 1, "80000001.0 edx": 1 << 26}), processor(amd, nil),
			[]string{"avx512f (CPUID 7.0 ebx bit 16)", "xsaveopt (CPUID d.1 eax bit 0)", "pdpe1gb (CPUID 80000001.0 edx bit 26)"}},
		"one without a name":           {processor(amd, map[string]uint32{"7.0 ecx": 1 << 23}), processor(amd, nil), []string{"lacks: CPUID 7.0 ecx bit 23"}},
		"one that KVM provides itself": {processor(amd, map[string]uint32{"1.0 ecx": 1<<31 | 1<<27}), processor(amd, nil), nil},
	} {
		err := checkCPUID(test.saved, test.host)
		if (err != nil) != (test.want != nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range test.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", name, err, w)
			}
		}
	}
}

// Every word that is compared has names, and no table is longer than a word.
func TestFeatureNames(t *testing.T) {
	known := map[string]bool{}
	for _, w := range featureWords {
		known[fmt.Sprintf("%x.%d %s", w.function, w.index, w.register)] = true
	}
	for word, names := range featureNames() {
		if !known[word] || len(names) > 32 {
			t.Errorf("%s: compared %v, %d names", word, known[word], len(names))
		}
		delete(known, word)
	}
	for word := range known {
		t.Errorf("%s has no names", word)
	}
}
