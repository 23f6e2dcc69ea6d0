package config

import (
	"path/filepath"
	"strings"
	"testing"
)

func valid() VM { return VM{Version: Version, MemoryMiB: 512, VCPUs: 1, Slots: DefaultSlots()} }

func TestValidate(t *testing.T) {
	good := valid()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*VM){
		"configuration version 2":    func(c *VM) { c.Version = 2 },
		"--mem-mb 1 is out of range": func(c *VM) { c.MemoryMiB = 1 },
		"--vcpus 17 is out of range": func(c *VM) { c.VCPUs = 17 },
		"--vcpus 0 is out of range":  func(c *VM) { c.VCPUs = 0 },
		"9 disks":                    func(c *VM) { c.Disks = make([]Disk, 9) },
		"disk a has virtio slot 0":   func(c *VM) { c.Disks = []Disk{{Path: "a", Slot: 0}} },
		"disk b has virtio slot 3":   func(c *VM) { c.Disks = []Disk{{Path: "a", Slot: 3}, {Path: "b", Slot: 3}} },
		"disk c has virtio slot -1":  func(c *VM) { c.Disks = []Disk{{Path: "c", Slot: -1}} },
		"rng has virtio slot 16":     func(c *VM) { c.Slots.RNG = 16 },
		"vsock has virtio slot 99":   func(c *VM) { c.Slots.Vsock = 99 },
	} {
		c := valid()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestFreeDiskSlot(t *testing.T) {
	c := valid()
	for i := range MaxDisks {
		slot, err := c.FreeDiskSlot()
		if err != nil || slot != c.Slots.Disk0+i {
			t.Fatalf("slot %d, %v", slot, err)
		}
		c.Disks = append(c.Disks, Disk{Path: "x", Slot: slot, ReadOnly: true})
	}
	if _, err := c.FreeDiskSlot(); err == nil {
		t.Error("a disk too many")
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.WritableDisk() != "" {
		t.Error("all disks are read-only")
	}
	c.Disks[2].ReadOnly = false
	if c.WritableDisk() != "x" {
		t.Error("a disk is writable")
	}
}

func TestParseDisk(t *testing.T) {
	for in, want := range map[string]Disk{"/a": {Path: "/a"}, "/a,ro": {Path: "/a", ReadOnly: true}} {
		if got, err := ParseDisk(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	if got, err := ParseDisk("b"); err != nil || !filepath.IsAbs(got.Path) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, in := range []string{"", ",ro", "/a,rw", "/a,", "/a,ro,ro"} {
		if got, err := ParseDisk(in); err == nil {
			t.Errorf("%q was taken as %+v", in, got)
		}
	}
}

func TestIdentities(t *testing.T) {
	a, b := NewIdentity(""), NewIdentity("name")
	if a.UUID == b.UUID || a.CID == b.CID || a.CID < FirstCID || b.CID < FirstCID {
		t.Errorf("%+v %+v", a, b)
	}
	if b.Hostname != "name" || !strings.HasPrefix(a.Hostname, "clone-") || len(a.Hostname) != 14 {
		t.Errorf("hostnames %q %q", a.Hostname, b.Hostname)
	}
	if s := a.UUIDString(); len(s) != 36 || s[14] != '4' || !strings.Contains("89ab", s[19:20]) {
		t.Errorf("UUID %s is not of version 4", s)
	}
}

func FuzzValidName(f *testing.F) {
	for _, s := range []string{"a", "", ".", "a/b", "-x", "a.b-c_d", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ValidName(s) && (s != filepath.Base(s) || s[0] == '.' || s[0] == '-' || len(s) > 63) {
			t.Errorf("%q is no component of a path", s)
		}
	})
}
