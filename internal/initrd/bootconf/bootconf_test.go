package bootconf

import (
	"slices"
	"strings"
	"testing"
)

func TestConfigRoundTrip(t *testing.T) {
	for _, c := range []Config{
		{},
		{Root: RootNone},
		{Root: RootOverlay, RootDevice: "/dev/vdb", RootFSType: "xfs", Init: "/bin/sh", Hostname: "a=b c"},
	} {
		got, err := ParseConfig(c.Encode())
		if err != nil || got != c {
			t.Errorf("%+v came back as %+v, %v", c, got, err)
		}
	}
	if _, err := ParseConfig("# comment\n\nroot=rw\n"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"root", "colour=red", strings.Repeat("#\n", MaxFileSize)} {
		if _, err := ParseConfig(bad); err == nil {
			t.Errorf("accepted %.20q", bad)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	good := []Config{{}, {Root: RootNone}, {Root: RootReadOnly, RootDevice: "/dev/vda", Init: "/sbin/init", Hostname: "h"}}
	for _, c := range good {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	bad := []Config{
		{Root: "upside-down"}, {Root: RootReadWrite}, {Root: RootReadWrite, RootDevice: "vda"},
		{Root: RootReadWrite, RootDevice: "/dev/../etc"}, {Root: RootReadWrite, RootDevice: "/dev/.."},
		{Init: "sh"}, {Hostname: strings.Repeat("x", 65)}, {Hostname: "a\nroot=rw"}, {Init: "/a\x00"},
	}
	for _, c := range bad {
		if c.Validate() == nil {
			t.Errorf("accepted %+v", c)
		}
	}
}

func TestCmdlineOverride(t *testing.T) {
	for _, c := range []struct {
		text string
		want Config
	}{
		{"", Config{Root: RootReadWrite}},
		{"console=ttyS0 init=/bin/bash quiet\n", Config{Root: RootReadWrite, Init: "/bin/bash"}},
		{"clone.root=overlay clone.hostname=\"two words\"", Config{Root: RootOverlay, Hostname: "two words"}},
		{"\"clone.hostname=all of it\" x", Config{Root: RootReadWrite, Hostname: "all of it"}},
		{"init=/a init=/b", Config{Root: RootReadWrite, Init: "/b"}},
		{"clone.hostname=a -- init=/b", Config{Root: RootReadWrite, Hostname: "a"}},
		{"clone.other=1 xclone.root=ro", Config{Root: RootReadWrite}},
		{"clone.root.device=/dev/vdc\tclone.root.fstype=btrfs", Config{Root: RootReadWrite, RootDevice: "/dev/vdc", RootFSType: "btrfs"}},
		{`clone.hostname="open`, Config{Root: RootReadWrite, Hostname: "open"}},
	} {
		got := Config{Root: RootReadWrite}
		ParseCmdline(c.text).Override(&got)
		if got != c.want {
			t.Errorf("%q: %+v, want %+v", c.text, got, c.want)
		}
	}
	if v, ok := ParseCmdline("a=1 b a=2").Value("a"); v != "2" || !ok {
		t.Errorf("a=%q, %v", v, ok)
	}
	if v, ok := ParseCmdline("a=1 b").Value("b"); v != "" || !ok {
		t.Errorf("b=%q, %v", v, ok)
	}
	if _, ok := ParseCmdline("a=1").Value("c"); ok {
		t.Error("found what is not there")
	}
}

func TestModulesRoundTrip(t *testing.T) {
	list := []Module{{File: "000-virtio.ko"}, {File: "001-vmgenid.ko", Optional: true}}
	text := EncodeModules(list)
	if text != "need 000-virtio.ko\nwant 001-vmgenid.ko\n" {
		t.Errorf("text %q", text)
	}
	if got, err := ParseModules(text); err != nil || !slices.Equal(got, list) {
		t.Errorf("came back as %v, %v", got, err)
	}
	for _, bad := range []string{"load x.ko", "need", "need ", "need ../x.ko", "want a b", "need ..", strings.Repeat("\n", MaxFileSize+1)} {
		if _, err := ParseModules(bad); err == nil {
			t.Errorf("accepted %.20q", bad)
		}
	}
}

func superblock(offset int, magic string) []byte {
	head := make([]byte, SuperblockBytes)
	copy(head[offset:], magic)
	return head
}

func TestFilesystem(t *testing.T) {
	for _, c := range []struct {
		head []byte
		want string
	}{
		{nil, ""}, {make([]byte, SuperblockBytes), ""},
		{superblock(0x438, "\x53\xef"), "ext4"}, {superblock(0x438, "\xef\x53"), ""},
		{superblock(0, "XFSB"), "xfs"}, {superblock(0x10040, "_BHRfS_M"), "btrfs"},
		{superblock(0, "hsqs"), "squashfs"}, {superblock(1024, "\xe2\xe1\xf5\xe0"), "erofs"},
		{superblock(0x438, "\x53\xef")[:0x439], ""}, {superblock(0x10040, "_BHRfS_M")[:SuperblockBytes-1], ""},
	} {
		if got := Filesystem(c.head); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if !ReadOnlyFilesystem("erofs") || ReadOnlyFilesystem("ext4") || !KnownFilesystem("xfs") || KnownFilesystem("ntfs") {
		t.Error("wrong about what a file system can do")
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("root=rw\nroot.device=/dev/vda\n")
	f.Add("# x\n\nhostname==\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig(text)
		if err != nil {
			return
		}
		if again, err := ParseConfig(c.Encode()); err != nil || again != c {
			t.Errorf("%+v came back as %+v, %v", c, again, err)
		}
	})
}

func FuzzParseCmdline(f *testing.F) {
	f.Add(`console=ttyS0 "a b=c d" x="y z" -- init=/x`)
	f.Add(`clone.root=ro init="`)
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, text string) {
		var c Config
		ParseCmdline(text).Override(&c)
		if c.Init != "" && !strings.Contains(text, "init=") {
			t.Errorf("init %q out of %q", c.Init, text)
		}
	})
}

func FuzzParseModules(f *testing.F) {
	f.Add("need 000-a.ko\nwant b.ko\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseModules(text)
		if err != nil {
			return
		}
		for _, m := range list {
			if strings.Contains(m.File, "/") || m.File == ".." {
				t.Errorf("file %q leads out of the directory", m.File)
			}
		}
		if again, err := ParseModules(EncodeModules(list)); err != nil || !slices.Equal(again, list) {
			t.Errorf("%v came back as %v, %v", list, again, err)
		}
	})
}

func FuzzFilesystem(f *testing.F) {
	f.Add(superblock(0x438, "\x53\xef"))
	f.Add([]byte("XFSB"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if got := Filesystem(head); got != "" && !KnownFilesystem(got) {
			t.Errorf("unknown type %q", got)
		}
	})
}
