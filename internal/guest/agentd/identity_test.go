package agentd

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clone/internal/agentproto"
)

const newID = "02000000000000000000000000000000"

func newIdentity() agentproto.Identity {
	return agentproto.Identity{
		Fork: true, UUID: [16]byte{0xde, 0xad, 0xbe, 0xef, 5: 1}, Hostname: "fork-1", MachineID: [16]byte{2},
		Entropy: [32]byte{3}, WallClock: time.Now().UnixNano(),
	}
}

// machineWith makes a recorder with these files below its root.
func machineWith(t *testing.T, files map[string]string) *recorder {
	t.Helper()
	r := &recorder{root: t.TempDir()}
	for name, text := range files {
		path := r.Path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *recorder) file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(r.Path(name))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func apply(t *testing.T, r *recorder, id agentproto.Identity) agentproto.Ack {
	t.Helper()
	m := (&Server{System: r}).apply(id)
	ack, ok := m.(agentproto.Ack)
	if !ok {
		t.Fatalf("%+v", m)
	}
	for i, it := range ack.Items {
		if it.Item != agentproto.Item(i) {
			t.Errorf("item %d is %v", i, it.Item)
		}
	}
	return ack
}

func TestIdentityOfFork(t *testing.T) {
	old := strings.Repeat("a", 32) + "\n"
	r := machineWith(t, map[string]string{
		"/etc/machine-id": old, "/etc/hostname": "a-template-with-a-long-name\n", "/var/lib/dbus/machine-id": old})
	r.offset = int64(-time.Hour)
	r.cids = []uint32{3, 3, 42}
	id := newIdentity()
	id.CID = 42
	id.KeepMachineID = false
	ack := apply(t, r, id)
	if err := ack.Err(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"entropy", "clock", "hostname", "cid", "cid", "cid"}; !slices.Equal(r.log, want) {
		t.Errorf("order %v, want %v", r.log, want)
	}
	if r.name != "fork-1" || [32]byte(r.seed) != id.Entropy || time.Duration(r.offset).Abs() > time.Second {
		t.Errorf("hostname %q, seed %v, clock off by %v", r.name, r.seed, time.Duration(r.offset))
	}
	for name, want := range map[string]string{
		"/etc/machine-id": newID + "\n", "/var/lib/dbus/machine-id": newID + "\n", "/etc/hostname": "fork-1\n",
		"/run/clone/vm-id": "deadbeef-0001-0000-0000-000000000000\n",
	} {
		if got := r.file(t, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestIdentityAtBoot(t *testing.T) {
	valid := strings.Repeat("b", 32)
	for old, want := range map[string]string{
		valid + "\n": valid + "\n", valid: valid, "": newID + "\n", "uninitialized\n": newID + "\n",
		strings.Repeat("0", 32) + "\n": newID + "\n", strings.Repeat("Z", 32) + "\n": newID + "\n",
	} {
		r := machineWith(t, map[string]string{"/etc/machine-id": old, "/etc/hostname": "image\n"})
		id := newIdentity()
		id.Fork, id.KeepMachineID = false, true
		ack := apply(t, r, id)
		if err := ack.Err(); err != nil {
			t.Fatal(err)
		}
		if got := r.file(t, "/etc/machine-id"); got != want {
			t.Errorf("machine-id %q became %q, want %q", old, got, want)
		}
		kept := ack.Items[agentproto.ItemMachineID].Outcome == agentproto.Kept
		if kept != (old == want) {
			t.Errorf("%q: kept is %v", old, kept)
		}
		if got := r.file(t, "/etc/hostname"); got != "image\n" {
			t.Errorf("hostname of the image became %q", got)
		}
		if ack.Items[agentproto.ItemClock].Outcome != agentproto.Kept {
			t.Error("a clock that was right was set")
		}
		if ack.Items[agentproto.ItemCID].Outcome != agentproto.Skipped {
			t.Error("a CID that was not given was checked")
		}
	}
}

func TestIdentityWithoutEtc(t *testing.T) {
	r := &recorder{root: t.TempDir()}
	ack := apply(t, r, newIdentity())
	if err := ack.Err(); err != nil || ack.Items[agentproto.ItemMachineID].Outcome != agentproto.Skipped {
		t.Errorf("%+v, %v", ack, err)
	}
}

// TestIdentityFails: each part that cannot be made right is reported, and the
// others are still tried.
func TestIdentityFails(t *testing.T) {
	broken := errors.New("broken")
	for name, item := range map[string]agentproto.Item{
		"entropy": agentproto.ItemEntropy, "clock": agentproto.ItemClock, "hostname": agentproto.ItemHostname, "cid": agentproto.ItemCID,
	} {
		r := machineWith(t, map[string]string{"/etc/machine-id": ""})
		r.fail = map[string]error{name: broken}
		r.offset = int64(time.Hour)
		r.cids = []uint32{9}
		id := newIdentity()
		id.CID = 9
		ack := apply(t, r, id)
		for i, it := range ack.Items {
			if failed := it.Outcome == agentproto.Failed; failed != (agentproto.Item(i) == item) {
				t.Errorf("%s broken: %v is %+v", name, agentproto.Item(i), it)
			}
		}
		if err := ack.Err(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s broken: %v", name, err)
		}
	}
	// The sibling's CID, and a machine-id that can be neither written nor covered.
	r := machineWith(t, map[string]string{"/etc/machine-id/is-a-directory": ""})
	r.cids = []uint32{3}
	id := newIdentity()
	id.CID = 42
	ack := apply(t, r, id)
	for _, item := range []agentproto.Item{agentproto.ItemMachineID, agentproto.ItemCID} {
		if ack.Items[item].Outcome != agentproto.Failed {
			t.Errorf("%v: %+v", item, ack.Items[item])
		}
	}
	id.UUID = [16]byte{}
	if m := (&Server{System: r}).apply(id); m.Type() != agentproto.TypeError {
		t.Errorf("an invalid identity: %+v", m)
	}
}

// TestIdentityClockOnTheWay: with the raw clock known, the time that the message took does not matter.
func TestIdentityClockOnTheWay(t *testing.T) {
	r := machineWith(t, map[string]string{"/etc/machine-id": newID + "\n"})
	r.raw = int64(20 * time.Minute)
	id := newIdentity()
	id.WallClock = time.Now().Add(-7 * time.Second).UnixNano() // sent seven seconds ago
	id.Raw = r.raw - int64(7*time.Second)
	if err := apply(t, r, id).Err(); err != nil {
		t.Fatal(err)
	}
	if off := time.Duration(r.offset).Abs(); off > time.Second {
		t.Errorf("the clock is %v off", off)
	}
}
