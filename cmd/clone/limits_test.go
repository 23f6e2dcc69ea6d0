package main

import (
	"strings"
	"testing"

	"clone/internal/control"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]uint64{
		"300M": 300 << 20, "1G": 1 << 30, "1.5g": 1536 << 20, "64MiB": 64 << 20, "64mb": 64 << 20, "1048576": 1 << 20, "2k": 2048, "0": 0,
	} {
		var s size
		if err := s.Set(text); err != nil || uint64(s) != want {
			t.Errorf("%s: %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "M", "many", "-1M", "1P", "NaN", "Inf", "1e300G", "1 000M"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is taken for %d", text, s)
		}
	}
	s := size(300 << 20)
	if s.String() != "300M" {
		t.Errorf("%s", s.String())
	}
}

func TestOverviewSums(t *testing.T) {
	vm := func(name string, private uint64, source control.KernelSource) vmUsage {
		m := control.Memory{Guest: control.Pages{Resident: 100 << 20, Private: private}, Kernel: control.KernelMemory{Bytes: 1 << 20, Source: source}}
		return vmUsage{control.Info{ID: name, MemoryMiB: 256}, 1, usageOf(m)}
	}
	o := overview{VMs: []vmUsage{vm("a", 1<<20, control.Measured), vm("b", 2<<20, control.Estimated)}}
	o.Total = totalOf(o.VMs)
	if o.Total.VMs != 2 || o.Total.Unshared != 200<<20 || o.Total.Configured != 512<<20 || o.Total.Memory.Cost != 5<<20 {
		t.Errorf("%+v", o.Total)
	}
	var out strings.Builder
	if err := printTable(&out, overviewRows(o)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 || strings.Contains(lines[1], "~") || !strings.Contains(lines[2], "~1 MiB") || !strings.Contains(lines[3], "~2 MiB") {
		t.Errorf("\n%s", out.String())
	}
}

func TestFrame(t *testing.T) {
	for _, test := range []struct {
		text           string
		inPlace, first bool
		want           string
	}{
		{"a\nb\n", true, true, "\x1b[2J\x1b[Ha\nb\n"},
		{"a\nb\n", true, false, "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"},
		{"a\n", false, true, "a\n"},
		{"a\n", false, false, "\na\n"},
		{"{}\n", false, false, "{}\n"},
	} {
		if got := frame(test.text, test.inPlace, test.first); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
