package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"clone/internal/control"
)

// snapshotJSON stores a VM and returns what the command says of it.
func (h *host) snapshotJSON(t *testing.T, vm, name string, flags ...string) control.SnapshotResult {
	t.Helper()
	out := h.ok(t, append([]string{"snapshot", "--vm-id", vm, "--name", name, "--json"}, flags...)...)
	t.Cleanup(func() { h.run(time.Minute, nil, "template", "rm", "--force", name) })
	var r control.SnapshotResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s: %.1f MiB over %q in %v; the VM stood still for %v", name, float64(r.MemoryBytes)/(1<<20), r.Parent,
		time.Duration(r.TotalNanoseconds), time.Duration(r.PauseNanoseconds))
	return r
}

// writeNoise makes a file of 200 KiB in the guest's memory and returns its checksum.
func (h *host) writeNoise(t *testing.T, vm, name string) string {
	t.Helper()
	return h.sh(t, vm, "dd if=/dev/urandom of=/dev/shm/"+name+" bs=1k count=200 status=none; sha256sum </dev/shm/"+name)
}

func (h *host) checkNoise(t *testing.T, vm string, sums map[string]string) {
	t.Helper()
	var script, want strings.Builder
	for _, name := range []string{"one", "two", "three", "four"} {
		fmt.Fprintf(&script, "sha256sum </dev/shm/%s 2>/dev/null || echo none\n", name)
		if sum, ok := sums[name]; ok {
			fmt.Fprintln(&want, sum)
		} else {
			fmt.Fprintln(&want, "none")
		}
	}
	if got := h.sh(t, vm, script.String()); got+"\n" != want.String() {
		t.Errorf("VM %s has\n%s\nwant\n%s", vm, got, want.String())
	}
}

// TestLayers forks forks of forks. What each stored is small, and holds all that the guests wrote on the way. It fails when
// a layer leaves out a page, or is laid over the wrong template.
func TestLayers(t *testing.T) {
	h := forkHost(t)
	const most = 20 << 20 // bytes; a fork of this guest, whole, is more than 80 MiB
	sums := map[string]string{}
	parent, vm := "base", h.fork(t, "base")
	for _, name := range []string{"one", "two", "three"} {
		sums[name] = h.writeNoise(t, vm, name)
		r := h.snapshotJSON(t, vm, "layer-"+name)
		if r.Parent != parent || r.MemoryBytes < 200<<10 || r.MemoryBytes > most {
			t.Errorf("layer of %s: %d bytes over %q, want less than %d over %s", name, r.MemoryBytes, r.Parent, most, parent)
		}
		next := h.fork(t, "layer-"+name)
		h.checkNoise(t, next, sums)
		h.checkClock(t, next)
		h.checkNoise(t, vm, sums) // the source goes on
		if name != "one" {
			h.ok(t, "destroy", "--force", vm)
		}
		parent, vm = "layer-"+name, next
	}

	// The last one again, over what it was stored as, and whole.
	sums["four"] = h.writeNoise(t, vm, "four")
	h.snapshotJSON(t, vm, "layer-four")
	h.sh(t, vm, "rm /dev/shm/three")
	again := h.snapshotJSON(t, vm, "again", "--incremental")
	if again.Parent != "layer-four" || again.MemoryBytes > most {
		t.Errorf("again: %d bytes over %q", again.MemoryBytes, again.Parent)
	}
	full := h.snapshotJSON(t, vm, "full", "--full")
	if full.Parent != "" || full.MemoryBytes < 3*again.MemoryBytes {
		t.Errorf("whole: %d bytes over %q", full.MemoryBytes, full.Parent)
	}
	h.ok(t, "destroy", "--force", vm)
	h.ok(t, "template", "verify", "again")
	h.fails(t, "other templates build on it: layer-two", "template", "rm", "layer-one")
	h.ok(t, "template", "flatten", "layer-three")
	h.ok(t, "template", "verify", "layer-three")
	h.ok(t, "template", "rm", "layer-two", "layer-one") // nothing builds on them any more
	for _, name := range []string{"layer-four", "again", "full"} {
		if name != "layer-four" {
			delete(sums, "three")
		}
		vm := h.fork(t, name, "--verify")
		h.checkNoise(t, vm, sums)
		h.ok(t, "destroy", "--force", vm)
	}
	var list []struct{ Name, Parent, Error string }
	if err := json.Unmarshal([]byte(h.ok(t, "template", "list", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if want := map[string]string{"layer-four": "layer-three", "again": "layer-four"}[e.Name]; e.Parent != want || e.Error != "" {
			t.Errorf("template %s builds on %q: %s", e.Name, e.Parent, e.Error)
		}
	}
}

// TestLayersOfABootedVM stores a VM that was booted over what it was stored as before.
func TestLayersOfABootedVM(t *testing.T) {
	h := newHost(t)
	vm := h.boot(t, "--mem-mb", "128")
	h.fails(t, "nothing to build on", "snapshot", "--vm-id", vm, "--name", "early", "--incremental")
	whole := h.snapshotJSON(t, vm, "whole")
	sum := h.writeNoise(t, vm, "one")
	layer := h.snapshotJSON(t, vm, "layer", "--incremental")
	if whole.Parent != "" || layer.Parent != "whole" || layer.MemoryBytes >= whole.MemoryBytes {
		t.Errorf("%d bytes over %q, then %d over %q", whole.MemoryBytes, whole.Parent, layer.MemoryBytes, layer.Parent)
	}
	h.checkNoise(t, h.fork(t, "layer"), map[string]string{"one": sum})
	h.checkNoise(t, h.fork(t, "whole"), nil)
	h.ok(t, "template", "rm", "--force", "whole")
	h.fails(t, "template whole, which it builds on, is gone", "fork", "--template", "layer", "--detach")
}
