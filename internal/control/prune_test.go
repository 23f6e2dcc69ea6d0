package control

import (
	"errors"
	"os"
	"slices"
	"testing"
)

func TestPrune(t *testing.T) {
	r := testRegistry(t)
	if p, err := r.Prune(); err != nil || len(p.VMs)+len(p.Names) != 0 {
		t.Fatalf("of nothing: %+v, %v", p, err)
	}
	alive := create(t, r, Info{Name: "alive"})
	dead := spawnVM(t, r, "dead")
	dead.kill(t)
	const half = "00000000000a"
	if err := errors.Join(os.Mkdir(r.Dir(half), 0o700), os.Symlink("../0000000000ff", r.nameLink("lost"))); err != nil {
		t.Fatal(err)
	}
	p, err := r.Prune()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range p.VMs {
		ids = append(ids, e.ID)
		if e.Reason == "" {
			t.Errorf("VM %s ended for no reason", e.ID)
		}
	}
	slices.Sort(ids)
	want := []string{half, dead.id}
	slices.Sort(want)
	if !slices.Equal(ids, want) || !slices.Equal(p.Names, []string{"lost"}) {
		t.Errorf("pruned %+v", p)
	}
	if rest := left(t, r); !slices.Equal(rest, []string{alive.Info().ID, "alive"}) {
		t.Errorf("left: %v", rest)
	}
	if n, err := r.Forget(); err != nil || n != 1 {
		t.Errorf("forgot %d, %v", n, err)
	}
	if all, err := r.Ended(); err != nil || len(all) != 0 {
		t.Errorf("records: %v, %v", all, err)
	}
}

func TestCheckFree(t *testing.T) {
	r := testRegistry(t)
	create(t, r, Info{Name: "web"})
	p := spawnVM(t, r, "dead")
	p.kill(t)
	for name, want := range map[string]error{"web": ErrNameTaken, "dead": nil, "other": nil, "7": ErrName} {
		if err := r.CheckFree(name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
