package e2e

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// vmLine is what list and status say of a VM in JSON.
type vmLine struct {
	ID, Name, State, Template, UUID, Version, Created string

	PID, VCPUs, CID int
	MemoryMiB       int `json:"memory_mib"`
	Answers         bool
	Uptime          float64 `json:"uptime_seconds"`
	Memory          memoryLine
}

// memoryLine is what they say of its memory, in bytes.
type memoryLine struct {
	Guest, Monitor struct{ Mapped, Resident, Private, Shared, Proportional, Merged, Swapped int }
	PageTables     int `json:"page_tables"`
	Kernel         struct {
		Bytes               int
		Source              string
		SecondaryPageTables int `json:"secondary_page_tables"`
	}
	Cost int
}

func parse[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestListAndStatus(t *testing.T) {
	h, id := standingVM(t)
	list := parse[[]vmLine](t, h.ok(t, "list", "--json"))
	if len(list) != 1 {
		t.Fatalf("%d VMs are listed", len(list))
	}
	vm := list[0]
	if vm.ID != id || vm.Name != "standing" || vm.State != "running" || vm.VCPUs != 1 || vm.MemoryMiB != 384 ||
		vm.PID == 0 || vm.CID < 3 || len(vm.UUID) != 36 || vm.Version == "" || vm.Created == "" || vm.Template != "" {
		t.Errorf("list says %+v", vm)
	}
	for _, ref := range []string{id, id[:6], "standing", strconv.Itoa(vm.PID)} {
		s := parse[vmLine](t, h.ok(t, "status", "--json", ref))
		if s.ID != id || !s.Answers || s.Uptime <= 0 || s.Memory.Guest.Private < 10<<20 {
			t.Errorf("status of %s says %+v", ref, s)
		}
		if out := h.ok(t, "exec", ref, "--", "echo", "hello"); out != "hello" {
			t.Errorf("exec by %s: %q", ref, out)
		}
	}
	if all := parse[struct{ VMs []vmLine }](t, h.ok(t, "status", "--json")).VMs; len(all) != 1 || all[0].ID != id {
		t.Errorf("the only VM is not found when none is named: %+v", all)
	}
	for _, table := range []string{h.ok(t, "list"), h.ok(t, "status")} {
		if !strings.Contains(table, id) || !strings.Contains(table, "384 MiB") {
			t.Errorf("for people:\n%s", table)
		}
	}
}

func TestSeveralVMs(t *testing.T) {
	h := newHost(t)
	a, b := h.bootSmall(t, "--name", "a"), h.bootSmall(t, "--name", "b")
	r := h.run(limit, nil, "exec", "--", "true")
	if r.status != 125 || !strings.Contains(r.err, "--vm-id") || !strings.Contains(r.err, a) || !strings.Contains(r.err, b) {
		t.Errorf("exec in one of two: %+v", r)
	}
	h.fails(t, "taken", small(t, "--name", "a", "--detach")...)
	if r := h.run(limit, nil, "destroy", "a"); r.status != 0 || strings.TrimSpace(r.out) != a || r.err != "" {
		t.Errorf("destroy: %+v", r)
	}
	h.exec(t, "", "sh", "-c", ":") // in the other: the only one left
	c := h.bootSmall(t, "--name", "a")
	if out := h.ok(t, "destroy", "--all"); !strings.Contains(out, b) || !strings.Contains(out, c) {
		t.Errorf("destroy --all says %q", out)
	}
	h.nothingLeft(t)
}

// destroy asks, and where nobody listens, insists.
func TestDestroyInsists(t *testing.T) {
	h := newHost(t)
	vm := h.ok(t, "run", "--kernel", kernel("6.12"), "--initrd", ownInitrd(t), "--mem-mb", "128", "--detach")
	r := h.run(limit, nil, "destroy", "--timeout", "1s", vm)
	if r.status != 0 || strings.TrimSpace(r.out) != vm || !strings.Contains(r.err, "did not shut down") {
		t.Errorf("destroy of a guest that does not react: %+v", r)
	}
	h.nothingLeft(t)
}

func TestDoctor(t *testing.T) {
	h := newHost(t)
	d := parse[struct {
		OK     bool
		Checks []struct{ Name, State, Detail, Remedy string }
	}](t, h.ok(t, "doctor", "--json"))
	if !d.OK || len(d.Checks) < 10 {
		t.Errorf("doctor on a host that runs VMs: %+v", d)
	}
	for _, c := range d.Checks {
		if c.Detail == "" || c.Name == "KVM" && c.State != "ok" {
			t.Errorf("%+v", c)
		}
	}
	if table := h.ok(t, "doctor"); !strings.Contains(table, "KVM") {
		t.Error(table)
	}
}

func TestCompletionAndVersion(t *testing.T) {
	h := newHost(t)
	bash := exec.Command("bash", "-n")
	bash.Stdin = strings.NewReader(h.ok(t, "completion", "bash"))
	if out, err := bash.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	v := parse[struct{ Version, Go, Platform string }](t, h.ok(t, "version", "--json"))
	if v.Version == "" || !strings.HasPrefix(v.Go, "go") || v.Platform != "linux/amd64" {
		t.Errorf("version: %+v", v)
	}
}
