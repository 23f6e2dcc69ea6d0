package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeHost is a host of these files.
func fakeHost(t *testing.T, files map[string]string) host {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return host{root}
}

func TestDoctorChecks(t *testing.T) {
	const amd = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu svm sse\n"
	const guest = "processor\t: 0\nflags\t\t: fpu sse hypervisor\n"
	for _, test := range []struct {
		name   string
		files  map[string]string
		check  func(host) finding
		state  state
		detail string
		remedy string
	}{
		{"svm", map[string]string{"proc/cpuinfo": amd}, host.processor, stateOK, "svm", ""},
		{"vmx", map[string]string{"proc/cpuinfo": strings.ReplaceAll(amd, "svm", "vmx")}, host.processor, stateOK, "vmx", ""},
		{"no flags", map[string]string{"proc/cpuinfo": guest}, host.processor, stateMissing, "neither", "firmware"},
		{"svm of another word", map[string]string{"proc/cpuinfo": "flags: svm_lock\n"}, host.processor, stateMissing, "neither", "firmware"},
		{"paravirtual", map[string]string{"proc/cpuinfo": guest, "dev/kvm": ""}, host.processor, stateMissing, "paravirtual", "make demo"},
		{"no kvm", nil, host.kvm, stateMissing, "does not exist", "modprobe kvm"},
		{"not kvm", map[string]string{"dev/kvm": ""}, host.kvm, stateMissing, "kvm", "make demo"},
		{"kernel", map[string]string{"proc/sys/kernel/osrelease": "6.12.1-amd64\n"}, host.kernel, stateOK, "6.12.1-amd64", ""},
		{"kernel without PAGEMAP_SCAN", map[string]string{"proc/sys/kernel/osrelease": "6.1.0"}, host.kernel, stateOK, "without PAGEMAP_SCAN", ""},
		{"old kernel", map[string]string{"proc/sys/kernel/osrelease": "5.4.0-1"}, host.kernel, stateMissing, "5.4.0-1", "5.10"},
		{"odd kernel", map[string]string{"proc/sys/kernel/osrelease": "next"}, host.kernel, stateWarn, "unknown", ""},
		{"memory", map[string]string{"proc/meminfo": "MemFree: 1 kB\nMemAvailable:    2097152 kB\n"}, host.memory, stateOK, "2 GiB", ""},
		{"little memory", map[string]string{"proc/meminfo": "MemAvailable:    102400 kB\n"}, host.memory, stateWarn, "100 MiB", "--mem-mb"},
		{"no memory", nil, host.memory, stateWarn, "unknown", ""},
		{"vsock", map[string]string{"dev/vhost-vsock": ""}, host.vhostVsock, stateOK, "opens", ""},
		{"no vsock", nil, host.vhostVsock, stateWarn, "through the VM's process", "modprobe vhost_vsock"},
		{"no net", nil, host.vhostNet, stateWarn, "does not exist", "modprobe vhost_net"},
		{"no tun", nil, host.tun, stateWarn, "does not exist", "modprobe tun"},
		{"ksm", map[string]string{"sys/kernel/mm/ksm/run": "1\n"}, host.ksm, stateOK, "on", ""},
		{"ksm off", map[string]string{"sys/kernel/mm/ksm/run": "0\n"}, host.ksm, stateWarn, "off", "echo 1"},
		{"no ksm", nil, host.ksm, stateWarn, "not in this kernel", ""},
		{"thp", map[string]string{"sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n", "proc/sys/vm/nr_hugepages": "7\n"},
			host.hugePages, stateOK, "transparent: madvise, reserved: 7", ""},
		{"thp off", map[string]string{"sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n"}, host.hugePages, stateWarn, "never, reserved: 0", "echo madvise"},
		{"no thp", nil, host.hugePages, stateWarn, "not in this kernel", ""},
		{"overcommit", map[string]string{"proc/sys/vm/overcommit_memory": "0\n"}, host.overcommit, stateOK, "", ""},
		{"strict", map[string]string{"proc/sys/vm/overcommit_memory": "2\n"}, host.overcommit, stateWarn, "strict", "sysctl"},
		{"cgroup", map[string]string{"sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n", "sys/fs/cgroup/cgroup.subtree_control": ""},
			host.cgroup, stateOK, "cpu memory pids", ""},
		{"cgroup of another", map[string]string{"sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n"}, host.cgroup, stateWarn, "not yours", "systemd-run"},
		{"cgroup without memory", map[string]string{"sys/fs/cgroup/cgroup.controllers": "cpu pids\n"}, host.cgroup, stateWarn, "cpu pids", "cgroup_enable=memory"},
		{"no cgroup", nil, host.cgroup, stateWarn, "not mounted", "cgroup"},
	} {
		f := test.check(fakeHost(t, test.files))
		if f.State != test.state || !strings.Contains(f.Detail, test.detail) || !strings.Contains(f.Remedy, test.remedy) ||
			(f.Remedy == "") != (test.remedy == "") {
			t.Errorf("%s: %+v", test.name, f)
		}
	}
}

func TestLackingCapabilities(t *testing.T) {
	if got := lackingCapabilities(func(int) int { return 1 }); got != nil {
		t.Errorf("lacking in a KVM that has all: %v", got)
	}
	got := lackingCapabilities(func(n int) int {
		if n == neededCapabilities[2].number {
			return 0
		}
		return 1
	})
	if len(got) != 1 || got[0] != "KVM_CAP_"+neededCapabilities[2].name {
		t.Errorf("lacking: %v", got)
	}
}

func TestDiagnosis(t *testing.T) {
	if d := diagnose([]finding{{State: stateOK}, {State: stateWarn}}); !d.OK {
		t.Error("a warning is not a failure")
	}
	if d := diagnose([]finding{{State: stateOK}, {State: stateMissing}, {State: stateOK}}); d.OK {
		t.Error("something is missing")
	}
	seen := map[string]bool{}
	for _, f := range (host{}).examine() { // of this machine, whatever it is
		if f.Name == "" || f.Detail == "" || seen[f.Name] || f.State == stateMissing && f.Remedy == "" {
			t.Errorf("unclear finding: %+v", f)
		}
		seen[f.Name] = true
	}
}
