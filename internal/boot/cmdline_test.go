package boot

import (
	"strings"
	"testing"
)

func TestCmdline(t *testing.T) {
	all := DefaultCmdline()
	for _, want := range []string{"console=ttyS0", "quiet", "reboot=k", "panic=-1", "8250.nr_uarts=1", "tsc=reliable", "pci=off"} {
		if !hasWord(all, want) {
			t.Errorf("%s is not a default: %s", want, all)
		}
	}
	slots := []CmdlineSlot{{0xd0000000, 0x1000, 5}, {0xd0001000, 0x1000, 6}}
	for _, tc := range []struct {
		name, user string
		words, not []string
	}{
		{name: "appended", user: " root=/dev/vda init=/bin/sh ", words: []string{"root=/dev/vda", "init=/bin/sh", "console=ttyS0"}},
		{name: "console replaced", user: "console=hvc0", words: []string{"console=hvc0"}, not: []string{"console=ttyS0"}},
		{name: "dash and underscore are one", user: "random.trust-cpu=off", words: []string{"random.trust-cpu=off"}, not: []string{"random.trust_cpu=on"}},
		{name: "words in quotes are values", user: `foo="a quiet b"`, words: []string{"quiet"}},
		{name: "init's words are not the kernel's", user: "-- quiet", words: []string{"quiet"}},
		{name: "slots by ACPI", user: "acpi=force", not: []string{"virtio_mmio.device=0x1000@0xd0000000:5"}},
		{name: "slots without ACPI", user: "acpi=off", words: []string{"virtio_mmio.device=0x1000@0xd0000000:5", "virtio_mmio.device=0x1000@0xd0001000:6"}},
	} {
		got := Cmdline(tc.user, slots)
		for _, w := range tc.words {
			if !hasWord(got, w) {
				t.Errorf("%s: %q has no %s", tc.name, got, w)
			}
		}
		for _, w := range tc.not {
			if hasWord(got, w) {
				t.Errorf("%s: %q has %s", tc.name, got, w)
			}
		}
		if !strings.HasSuffix(got, strings.TrimSpace(tc.user)) {
			t.Errorf("%s: %q does not end with %q", tc.name, got, tc.user)
		}
	}
	if got := Cmdline(`foo="a quiet b"`, nil); !strings.HasPrefix(got, all) {
		t.Errorf("a quoted word took a default away: %q", got)
	}
	if got := Cmdline("-- quiet", nil); got != all+" -- quiet" {
		t.Errorf("init's word took a default away: %q", got)
	}
}

func TestDefaultsHaveReasons(t *testing.T) {
	for _, p := range defaults {
		if p.why == "" {
			t.Errorf("%s: why?", p.text)
		}
	}
}

func hasWord(line, word string) bool {
	for _, w := range strings.Fields(line) {
		if w == word {
			return true
		}
	}
	return false
}

func FuzzCmdline(f *testing.F) {
	f.Add(`console=hvc0 "pci=x y" acpi=off -- init`)
	f.Fuzz(func(t *testing.T, user string) {
		if got := Cmdline(user, nil); !strings.HasSuffix(got, strings.TrimSpace(user)) {
			t.Fatalf("%q does not end with %q", got, user)
		}
	})
}
