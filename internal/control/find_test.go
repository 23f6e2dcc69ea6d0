package control

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	r := testRegistry(t)
	if _, err := r.Find(""); !errors.Is(err, ErrNoVM) || !strings.Contains(err.Error(), "clone run") {
		t.Errorf("no VM at all: %v", err)
	}
	web := create(t, r, Info{Name: "web", PID: 1001}).Info()
	if got, err := r.Find(""); err != nil || got.ID != web.ID {
		t.Errorf("the only one: %v, %v", got, err)
	}
	bare := create(t, r, Info{PID: 1002}).Info()
	for ref, want := range map[string]Info{
		"web": web, web.ID: web, "1001": web, "1002": bare, bare.ID: bare,
	} {
		if got, err := r.Find(ref); err != nil || got.ID != want.ID {
			t.Errorf("Find(%q) = %v, %v; want %v", ref, got, err, want)
		}
	}
	for _, ref := range []string{"we", "webs", "1003", "100", "zz", "../" + web.ID, "a/b"} {
		if got, err := r.Find(ref); !errors.Is(err, ErrNoVM) {
			t.Errorf("Find(%q) = %v, %v; want ErrNoVM", ref, got, err)
		}
	}
	_, err := r.Find("")
	if !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), web.String()) || !strings.Contains(err.Error(), bare.ID) {
		t.Errorf("one of two: %v, want both named", err)
	}
}

func TestMatchPrefix(t *testing.T) {
	infos := []Info{{ID: "abcd00000000"}, {ID: "abcd10000000", Name: "abcd0"}, {ID: "cdef00000000"}, {ID: "123400000000", PID: 7}}
	for ref, want := range map[string]string{
		"cdef": "cdef00000000", "abcd1": "abcd10000000",
		"abcd0": "abcd10000000", // a name goes before the beginning of an id
		"7":     "123400000000",
		"abcd":  "", "1234": "", "efab": "",
		"cde": "", // too short
	} {
		got, err := match(infos, ref)
		if got.ID != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", ref, got.ID, err, want)
		}
	}
	if _, err := match(infos, "abcd"); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("abcd: %v, want ErrAmbiguous", err)
	}
}

// A beginning of an id is never a number: that is a PID.
func TestNoIDBeginsWithADigit(t *testing.T) {
	for range 1000 {
		if id := newID(); !isID(id) || isNumeric(id[:1]) {
			t.Fatalf("id %q", id)
		}
	}
}

// The name of a VM that has ended does not mean another one, whose id happens to begin with it.
func TestNameOfAnEndedVM(t *testing.T) {
	r := testRegistry(t)
	other := create(t, r, Info{}).Info()
	name := other.ID[:minBeginning-1] + "a"
	for !strings.HasPrefix(other.ID, name) { // until the beginning of an id is no number, and so could be a name that is meant
		other = create(t, r, Info{}).Info()
		name = other.ID[:minBeginning-1] + "a"
	}
	if got, err := r.Find(name); err != nil || got.ID != other.ID {
		t.Fatalf("before: Find(%q) = %v, %v", name, got, err)
	}
	ended := create(t, r, Info{Name: name})
	if err := ended.SetEnd(0, "", ""); err != nil {
		t.Fatal(err)
	}
	ended.Close()
	if got, err := r.Find(name); !errors.Is(err, ErrNoVM) {
		t.Errorf("after: Find(%q) = %v, %v; want ErrNoVM", name, got, err)
	}
}

func TestManyCandidatesAreCut(t *testing.T) {
	var infos []Info
	for i := range 100 {
		infos = append(infos, Info{ID: fmt.Sprintf("%012x", i)})
	}
	if _, err := only(infos); len(err.Error()) > 250 || !strings.Contains(err.Error(), "and 92 more") {
		t.Error(err)
	}
}

// A damaged vm.json of a live VM is reported, and hides no other VM.
func TestDamagedInfo(t *testing.T) {
	r := testRegistry(t)
	good, bad := create(t, r, Info{Name: "good"}), create(t, r, Info{Name: "bad"})
	if err := os.WriteFile(bad.Path()+"/vm.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	infos, err := r.List()
	if len(infos) != 1 || infos[0].ID != good.Info().ID || err == nil {
		t.Errorf("List: %v, %v", infos, err)
	}
	if got, err := r.Find("good"); err != nil || got.Name != "good" {
		t.Errorf("Find: %v, %v", got, err)
	}
	if got, err := r.Find(""); err == nil {
		t.Errorf("Find took %v for the only VM", got)
	}
}
