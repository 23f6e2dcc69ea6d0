package e2e

import (
	"fmt"
	"testing"
	"time"
)

// A VM that is killed in the middle of a snapshot leaves a whole template or none, and the next command works.
func TestKilledWhileSnapshotting(t *testing.T) {
	h := warmHost(t)
	before := fileSums(t, h.dir+"/home/templates/warm")
	h.fork(t, "warm")
	r := h.run(limit, nil, "snapshot", "--name", "s")
	if r.status != 0 {
		t.Fatalf("%+v", r)
	}
	h.ok(t, "template", "rm", "s")
	h.killVM(t)
	const rounds = 8
	written := 0
	for i := range rounds {
		h.fork(t, "warm", "--name", "source")
		k := h.talk(t, "snapshot", "--name", "s")
		select {
		case <-k.over:
		case <-time.After(r.took * time.Duration(i+1) / rounds):
		}
		h.killVM(t)
		<-k.over
		h.allGone(t)
		switch names := fmt.Sprint(parse[[]struct{ Name string }](t, h.ok(t, "template", "list", "--json"))); names {
		case "[{s} {warm}]":
			written++
			h.ok(t, "template", "verify", "s")
			h.ok(t, "template", "rm", "s")
		case "[{warm}]":
		default:
			t.Errorf("templates: %s", names)
		}
		if got := h.ok(t, "prune"); got != "" && i > 0 {
			t.Logf("round %d: pruned %s", i, got)
		}
	}
	h.ok(t, "template", "verify", "warm")
	if now := fileSums(t, h.dir+"/home/templates/warm"); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Error("the template that they were forks of has changed")
	}
	t.Logf("%d of %d snapshots were whole; one takes %v", written, rounds, r.took)
}
