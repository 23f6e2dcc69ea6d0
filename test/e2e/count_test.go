package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"clone/internal/control"
)

// warmHost returns a host that has the template "warm", of a small guest, and runs nothing.
func warmHost(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.bootSmall(t, "--name", "source")
	h.ok(t, "snapshot", "--name", "warm")
	h.ok(t, "destroy", "--force", "source")
	return h
}

func (h *host) running(t *testing.T) (ids []string) {
	t.Helper()
	for _, vm := range parse[[]control.Info](t, h.ok(t, "list", "--json")) {
		ids = append(ids, vm.ID)
	}
	return ids
}

// askWho is the script for a guest with nothing but a shell.
const askWho = "read name </proc/sys/kernel/hostname; read random </proc/sys/kernel/random/uuid; read id </run/clone/vm-id; echo $name $random $id"

// TestCountForks starts several at once: all answer, and no two are alike.
func TestCountForks(t *testing.T) {
	h := warmHost(t)
	r := h.run(limit, nil, "fork", "--template", "warm", "--count", "4", "--name", "web")
	ids := strings.Fields(r.out)
	if r.status != 0 || len(ids) != 4 || !regexp.MustCompile(`^clone: 4 of 4 forks ready in \S+; each took p50 \S+, p99 \S+\n$`).MatchString(r.err) {
		t.Fatalf("%+v", r)
	}
	t.Log(r.err)
	var names []string
	seen := map[string]bool{}
	for _, id := range ids {
		who := strings.Fields(h.sh(t, id, askWho))
		who = append(who, fmt.Sprint(h.infoOf(t, id).CID))
		for _, word := range who {
			if seen[word] {
				t.Errorf("two forks have %s", word)
			}
			seen[word] = true
		}
		names = append(names, who[0])
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "web-1 web-2 web-3 web-4" {
		t.Errorf("the guests are called %s", got)
	}

	h.fails(t, `name is taken: "web-1"`, "fork", "--template", "warm", "--count", "2", "--name", "web")
	h.fails(t, "no such template", "fork", "--template", "cold", "--count", "2")
	// What fails takes nobody down.
	r = h.run(limit, nil, "fork", "--template", "warm", "--count", "3", "--ready-timeout", "1ns")
	if r.status != 1 || r.out != "" || strings.Count(r.err, "clone: fork ") != 3 || !strings.Contains(r.err, "0 of 3 forks ready") {
		t.Errorf("all fail: %+v", r)
	}
	if got := h.running(t); len(got) != 4 {
		t.Errorf("%d VMs run", len(got))
	}
	h.ok(t, "destroy", "--all", "--force")
	h.nothingLeft(t)
}

// TestCountInterrupted ends what is starting and leaves what is ready.
func TestCountInterrupted(t *testing.T) {
	h := warmHost(t)
	k := h.talk(t, "fork", "--template", "warm", "--count", "60", "--parallel", "2")
	k.expect(t, "\n")
	if err := k.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	k.ended(t, 130)
	ready := regexp.MustCompile(`(?m)^[0-9a-f]{12}$`).FindAllString(k.shown(), -1)
	if len(ready) == 0 || len(ready) == 60 || !strings.Contains(k.shown(), fmt.Sprintf("the %d that were ready go on", len(ready))) {
		t.Errorf("it printed %d ids", len(ready))
	}
	running := h.running(t)
	slices.Sort(ready)
	slices.Sort(running)
	if !slices.Equal(ready, running) {
		t.Errorf("ready were %v, running are %v", ready, running)
	}
	h.sh(t, ready[0], ":")
	h.ok(t, "destroy", "--all", "--force")
	h.nothingLeft(t)
}

// TestFunctionCall runs commands in forks that nobody sees but through their output.
func TestFunctionCall(t *testing.T) {
	h := warmHost(t)
	recorded := h.ok(t, "list", "--all", "--json")
	call := func(stdin string, args ...string) result {
		t.Helper()
		r := h.run(limit, []byte(stdin), append([]string{"fork", "--template", "warm"}, args...)...)
		if got := h.running(t); len(got) != 0 {
			t.Errorf("%v left VMs: %v", args, got)
		}
		h.nothingLeft(t)
		return r
	}
	r := call("typed", "--", "sh", "-c", "read x; echo got $x; echo err >&2; exit 7")
	if r.status != 7 || r.out != "got typed\n" || r.err != "err\n" {
		t.Errorf("%+v", r)
	}
	t.Logf("a function call took %v", r.took)
	if r = call("", "-e", "A=b", "-w", "/proc", "--name", "f", "--", "sh", "-c", "read n </proc/sys/kernel/hostname; echo $A $PWD $n"); r.status != 0 || r.out != "b /proc f\n" {
		t.Errorf("%+v", r)
	}
	if r = call("", "--", "no-such-command"); r.status != 127 || r.out != "" {
		t.Errorf("%+v", r)
	}
	if r = call("", "--", "sh", "-c", "kill -9 $$"); r.status != 137 {
		t.Errorf("%+v", r)
	}
	if r = h.run(limit, nil, "fork", "--template", "cold", "--", "true"); r.status != 125 || !strings.Contains(r.err, "no such template") {
		t.Errorf("%+v", r)
	}
	if r = call("", "--ready-timeout", "1ns", "--", "true"); r.status != 125 || !strings.HasPrefix(r.err, "clone: ") {
		t.Errorf("%+v", r)
	}
	// Calls that went well leave no record; two VMs' identities are never the same.
	a, b := call("", "--", "sh", "-c", askWho), call("", "--", "sh", "-c", askWho)
	for _, word := range strings.Fields(a.out) {
		if strings.Contains(b.out, word) {
			t.Errorf("two calls have %s: %q", word, a.out)
		}
	}
	records := func(s string) int { return strings.Count(s, `"reason"`) }
	if now := h.ok(t, "list", "--all", "--json"); records(now) != records(recorded)+1 { // the one that was never ready
		t.Errorf("records: %s", now)
	}
}

// TestFunctionCallEnds ends them in the ways there are.
func TestFunctionCallEnds(t *testing.T) {
	h := warmHost(t)
	for _, end := range []struct {
		script string
		act    func(k *talk) error
		status int
		says   string
	}{
		{`trap "exit 42" INT; echo begun; while :; do :; done`, func(k *talk) error { return k.cmd.Process.Signal(syscall.SIGINT) }, 42, ""},
		{`trap "exit 43" TERM; echo begun; while :; do :; done`, func(k *talk) error { return k.cmd.Process.Signal(syscall.SIGTERM) }, 43, ""},
		{`echo begun; while :; do :; done`, func(k *talk) error { return k.cmd.Process.Kill() }, -1, ""},
		// The guest waits until its word has arrived: a machine that ends at once takes with it what was on the way.
		{`echo begun; read -r go; /guestprog poweroff; while :; do :; done`, typeLine, 125, "the guest powered off"},
		{`echo begun; read -r go; echo c > /proc/sysrq-trigger; while :; do :; done`, typeLine, 125, "Kernel panic"},
	} {
		k := h.talk(t, "fork", "--template", "warm", "--", "sh", "-c", end.script)
		k.expect(t, "begun")
		if err := end.act(k); err != nil {
			t.Fatal(err)
		}
		k.ended(t, end.status)
		if !strings.Contains(k.shown(), end.says) {
			t.Errorf("%s: it does not say %q: %s", end.script, end.says, k.shown())
		}
		if got := h.running(t); len(got) != 0 {
			t.Errorf("%s: left VMs: %v", end.script, got)
		}
		h.nothingLeft(t)
	}
	// On the way to readiness.
	k := h.talk(t, "fork", "--template", "warm", "--", "sh", "-c", "echo begun; while :; do :; done")
	await(t, "there is a VM", func() bool { return h.ok(t, "list", "--json") != "[]" })
	if err := k.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	k.ended(t, 130)
	h.nothingLeft(t)
}

func typeLine(k *talk) error {
	_, err := k.in.Write([]byte("go\n"))
	return err
}

// TestReasonOfTheEnd: a detached VM that ended says why to whoever looks for it.
func TestReasonOfTheEnd(t *testing.T) {
	h := warmHost(t)
	h.fork(t, "warm", "--name", "web")
	h.run(limit, nil, "exec", "web", "--", "sh", "-c", "echo c > /proc/sysrq-trigger")
	await(t, "the VM is gone", func() bool { return h.ok(t, "list", "--json") == "[]" })
	h.fails(t, "no such VM: web; it ended ", "exec", "web", "--", "true")
	h.fails(t, "the guest asked for a reset (reboot or panic); on its console: Kernel panic - not syncing", "status", "web")
	h.fork(t, "warm", "--name", "db")
	h.ok(t, "destroy", "db")
	h.fails(t, "the guest powered off (asked for by clone destroy)", "status", "db")
	if all := h.ok(t, "list", "--all"); !strings.Contains(all, "Kernel panic") || !strings.Contains(all, "asked for by clone destroy") {
		t.Error(all)
	}
}
