package agentd

import (
	"slices"
	"strings"
	"testing"

	"clone/internal/agentproto"
)

func TestFindAccount(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/bash\nbroken line\nann:x:1000:1001:Ann,,,:/home/ann:\nbad:x:-1:5:::\nmax:x:4294967295:5:::\n"
	const group = "root:x:0:\nann:x:1001:\nkvm:x:106:bob,ann\nsudo:x:27:ann\n:::\nbroken\n"
	tests := []struct {
		spec string
		want account
		ok   bool
	}{
		{"root", account{"root", 0, 0, nil, "/root", "/bin/bash"}, true},
		{"ann", account{"ann", 1000, 1001, []uint32{106, 27}, "/home/ann", "/bin/sh"}, true},
		{"1000", account{"ann", 1000, 1001, []uint32{106, 27}, "/home/ann", "/bin/sh"}, true},
		{"ann:kvm", account{"ann", 1000, 106, nil, "/home/ann", "/bin/sh"}, true},
		{"1000:5", account{"ann", 1000, 5, nil, "/home/ann", "/bin/sh"}, true},
		{"77", account{"77", 77, 77, nil, "/", "/bin/sh"}, true},
		{"77:88", account{"77", 77, 88, nil, "/", "/bin/sh"}, true},
		{"nobody-here", account{}, false},
		{"ann:nogroup-here", account{}, false},
		{"ann:", account{}, false},
		{":5", account{}, false},
		{"-1", account{}, false},
		{"4294967295", account{}, false},
		{"4294967296", account{}, false},
		{"bad", account{}, false},
		{"max", account{}, false},
	}
	for _, tt := range tests {
		got, err := findAccount(tt.spec, passwd, group)
		if (err == nil) != tt.ok || got.name != tt.want.name || got.uid != tt.want.uid || got.gid != tt.want.gid ||
			!slices.Equal(got.groups, tt.want.groups) || got.home != tt.want.home || got.shell != tt.want.shell {
			t.Errorf("%q: %+v, %v; want %+v", tt.spec, got, err, tt.want)
		}
	}
	if a, _ := findAccount("root", passwd, group); a.credential() != nil {
		t.Error("root needs no change of user")
	}
}

func FuzzFindAccount(f *testing.F) {
	f.Add("ann", "ann:x:1000:1001::/home/ann:/bin/sh\n", "kvm:x:106:ann\n")
	f.Add("1:2", "::::::", ":::")
	f.Fuzz(func(t *testing.T, spec, passwd, group string) {
		a, err := findAccount(spec, passwd, group)
		if err != nil {
			return
		}
		if none := uint32(1<<32 - 1); a.uid == none || a.gid == none || slices.Contains(a.groups, none) {
			t.Errorf("%+v means no change of user", a)
		}
	})
}

func TestEnvironment(t *testing.T) {
	v := environment(account{name: "ann", home: "/home/ann", shell: "/bin/sh"},
		agentproto.Exec{TTY: true, Env: []string{"PATH=/x", "A=1", "A=2", "PATHS=y", "E="}})
	if got := v.get("PATH"); got != "/x" {
		t.Errorf("PATH is %q", got)
	}
	if got := v.get("PAT"); got != "" {
		t.Errorf("PAT is %q", got)
	}
	want := "PATH=/x HOME=/home/ann USER=ann LOGNAME=ann SHELL=/bin/sh TERM=xterm A=2 PATHS=y E="
	if got := strings.Join(v.list, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestMemAvailable(t *testing.T) {
	for text, want := range map[string]uint64{
		"MemTotal: 2048 kB\nMemFree: 1 kB\nMemAvailable:     1024 kB\n": 1 << 20,
		"MemTotal: 2048 kB\n":                   0,
		"MemAvailable:":                         0,
		"MemAvailable: x kB":                    0,
		"MemAvailable: 99999999999999999999 kB": 0,
	} {
		got, ok := memAvailable(text)
		if got != want && ok || ok != (want != 0) {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
}
