package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func testRegistry(t *testing.T) *Registry {
	t.Helper()
	// t.TempDir is named after the test, which can be too long for a socket's path.
	dir, err := os.MkdirTemp("", "clone")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r, err := OpenAt(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func create(t *testing.T, r *Registry, info Info) *Dir {
	t.Helper()
	d, err := r.Create(info)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func list(t *testing.T, r *Registry) []Info {
	t.Helper()
	infos, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

// left is what the registry holds besides its own files.
func left(t *testing.T, r *Registry) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*", "names/*"} {
		found, err := filepath.Glob(filepath.Join(r.Path(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if b := filepath.Base(f); b != "lock" && b != "names" && b != "ended" {
				names = append(names, b)
			}
		}
	}
	return names
}

func TestCreateListClose(t *testing.T) {
	r := testRegistry(t)
	d := create(t, r, Info{Name: "web", VCPUs: 2, MemoryMiB: 512, CID: 7, UUID: "u", Template: "t", Version: "v"})
	if err := d.SetState(Running); err != nil {
		t.Fatal(err)
	}
	infos := list(t, r)
	if len(infos) != 1 {
		t.Fatalf("%d VMs listed, want 1", len(infos))
	}
	got := infos[0]
	if !got.Created.Equal(d.Info().Created) {
		t.Errorf("created %v, want %v", got.Created, d.Info().Created)
	}
	want := Info{ID: d.Info().ID, Name: "web", PID: os.Getpid(), State: Running, VCPUs: 2, MemoryMiB: 512, CID: 7,
		UUID: "u", Template: "t", Version: "v", Created: got.Created}
	if got != want {
		t.Errorf("listed %+v\nwant   %+v", got, want)
	}
	if fi, err := os.Stat(d.Path()); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v; want mode 0700", fi.Mode(), err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if rest := left(t, r); len(rest) != 0 {
		t.Errorf("Close left %v", rest)
	}
	if err := d.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestUpdateKeepsIDAndName(t *testing.T) {
	d := create(t, testRegistry(t), Info{Name: "a"})
	id := d.Info().ID
	if err := d.Update(func(i *Info) { *i = Info{CID: 9} }); err != nil {
		t.Fatal(err)
	}
	if got := d.Info(); got.ID != id || got.Name != "a" || got.CID != 9 {
		t.Errorf("after Update: %+v", got)
	}
}

func TestTakenName(t *testing.T) {
	r := testRegistry(t)
	d := create(t, r, Info{Name: "web"})
	_, err := r.Create(Info{Name: "web"})
	if !errors.Is(err, ErrNameTaken) {
		t.Fatalf("second VM of the same name: %v, want ErrNameTaken", err)
	}
	if !strings.Contains(err.Error(), d.Info().ID) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("the error does not name the holder: %v", err)
	}
	if n := len(list(t, r)); n != 1 {
		t.Errorf("%d VMs after a refusal, want 1", n)
	}
	d.Close()
	create(t, r, Info{Name: "web"})
}

func TestNames(t *testing.T) {
	r := testRegistry(t)
	for _, name := range []string{"a", "A9", "web-1", "a.b_c", "0x", "12a", strings.Repeat("a", 63)} {
		create(t, r, Info{Name: name})
	}
	for _, name := range []string{"1", "123", "-a", ".", "..", ".a", "_a", "a/b", "a b", "a\n", "ä", strings.Repeat("a", 64),
		"0123456789ab", "\x00"} {
		if _, err := r.Create(Info{Name: name}); !errors.Is(err, ErrName) {
			t.Errorf("name %q: %v, want ErrName", name, err)
		}
	}
}

// One of many goroutines and processes that want a name gets it, round after round.
func TestNameRace(t *testing.T) {
	r := testRegistry(t)
	for round := range 20 {
		var wg sync.WaitGroup
		won := make(chan *Dir, 16)
		for range cap(won) {
			wg.Go(func() {
				d, err := r.Create(Info{Name: "same"})
				if err == nil {
					won <- d
				} else if !errors.Is(err, ErrNameTaken) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := r.List(); err != nil { // disturbs, reaps what looks dead
					t.Error(err)
				}
			})
		}
		wg.Wait()
		close(won)
		if len(won) != 1 {
			t.Fatalf("round %d: %d winners, want 1", round, len(won))
		}
		d := <-won
		if got, err := r.Find("same"); err != nil || got.ID != d.Info().ID {
			t.Fatalf("round %d: Find: %v, %v; want %s", round, got, err, d.Info().ID)
		}
		d.Close()
	}
	if rest := left(t, r); len(rest) != 0 {
		t.Errorf("left behind: %v", rest)
	}
}

func TestNameRaceOfProcesses(t *testing.T) {
	r := testRegistry(t)
	results := make([]*process, 8)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i] = spawnVM(t, r, "same") })
	}
	wg.Wait()
	winners := 0
	for _, p := range results {
		if isID(p.id) {
			winners++
		} else if !strings.Contains(p.id, ErrNameTaken.Error()) {
			t.Error(p.id)
		}
	}
	if winners != 1 {
		t.Errorf("%d winners, want 1", winners)
	}
}

func TestReapAfterKill(t *testing.T) {
	r := testRegistry(t)
	alive, dead := spawnVM(t, r, "alive"), spawnVM(t, r, "dead")
	if n := len(list(t, r)); n != 2 {
		t.Fatalf("%d VMs listed, want 2", n)
	}
	if err := os.WriteFile(r.VsockSocket(dead.id), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dead.kill(t)
	infos := list(t, r)
	if len(infos) != 1 || infos[0].ID != alive.id {
		t.Fatalf("after the kill: %v, want %s alone", infos, alive.id)
	}
	if rest := left(t, r); len(rest) != 2 { // one directory, one link
		t.Errorf("left behind: %v", rest)
	}
	if _, err := r.Find("dead"); !errors.Is(err, ErrNoVM) {
		t.Errorf("Find of a dead VM: %v", err)
	}
}

func TestNameOfKilledVMIsFree(t *testing.T) {
	r := testRegistry(t)
	p := spawnVM(t, r, "web")
	p.kill(t)
	d := create(t, r, Info{Name: "web"}) // without anybody having listed
	if got, err := r.Find("web"); err != nil || got.ID != d.Info().ID {
		t.Errorf("Find: %v, %v", got, err)
	}
	if rest := left(t, r); len(rest) != 2 {
		t.Errorf("left behind: %v", rest)
	}
}

// What a process leaves that was killed between two steps of Create.
func TestReapHalfMade(t *testing.T) {
	r := testRegistry(t)
	const id = "00000000000a"
	for name, half := range map[string]func(dir string) error{
		"bare":    func(string) error { return nil },
		"lock":    func(dir string) error { return os.WriteFile(dir+"/lock", nil, 0o600) },
		"partial": func(dir string) error { return os.WriteFile(dir+"/vm.json", []byte(`{"name":"x`), 0o600) },
		"link": func(dir string) error {
			return errors.Join(os.MkdirAll(r.Path()+"/names", 0o700), os.Symlink("../"+id, r.nameLink("x")),
				os.WriteFile(dir+"/vm.json", []byte(`{"name":"x"}`), 0o600))
		},
	} {
		if err := errors.Join(os.Mkdir(r.Dir(id), 0o700), half(r.Dir(id))); err != nil {
			t.Fatal(err)
		}
		if infos := list(t, r); len(infos) != 0 {
			t.Errorf("%s: listed %v", name, infos)
		}
		if rest := left(t, r); len(rest) != 0 {
			t.Errorf("%s: left behind %v", name, rest)
		}
	}
	if err := errors.Join(os.Symlink("../"+id, r.nameLink("x"))); err != nil {
		t.Fatal(err)
	}
	create(t, r, Info{Name: "x"})
}

// A VM in the middle of Create, which has not locked its directory yet, must not be reaped by a List.
func TestListLeavesHalfMadeAlone(t *testing.T) {
	r := testRegistry(t)
	registry, err := openLocked(r.registryLock()) // as Create does
	if err != nil {
		t.Fatal(err)
	}
	const id = "00000000000a"
	if err := os.Mkdir(r.Dir(id), 0o700); err != nil {
		t.Fatal(err)
	}
	listed := make(chan []Info)
	go func() { infos, _ := r.List(); listed <- infos }()
	select {
	case <-listed:
		t.Fatal("List did not wait for the one who creates")
	case <-time.After(50 * time.Millisecond):
	}
	d := &Dir{r: r, info: Info{ID: id}}
	if d.lock, err = openLocked(filepath.Join(r.Dir(id), "lock")); err != nil {
		t.Fatal(err)
	}
	if err := d.write(); err != nil {
		t.Fatal(err)
	}
	registry.Close()
	<-listed
	if infos := list(t, r); len(infos) != 1 {
		t.Errorf("listed %v, want the new VM", infos)
	}
	d.Close()
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	open := filepath.Join(dir, "open")
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(open, 0o755), os.Mkdir(dir+"/real", 0o700),
		os.Symlink(dir+"/real", link)); err != nil {
		t.Fatal(err)
	}
	for base, want := range map[string]string{
		"relative":                    "absolute",
		file:                          "not a directory",
		link:                          "not a directory",
		open:                          "chmod 700",
		"/" + strings.Repeat("a", 99): "too long",
	} {
		if _, err := OpenAt(base); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenAt(%q): %v, want an error with %q", base, err, want)
		}
	}
}

func TestOpenChoosesDirectory(t *testing.T) {
	dir := testRegistry(t).Path()
	t.Setenv("CLONE_RUNTIME_DIR", "")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if r, err := Open(); err != nil || r.Path() != dir+"/clone" {
		t.Errorf("with XDG_RUNTIME_DIR: %v, %v", r, err)
	}
	t.Setenv("CLONE_RUNTIME_DIR", dir+"/other")
	if r, err := Open(); err != nil || r.Path() != dir+"/other" {
		t.Errorf("with CLONE_RUNTIME_DIR: %v, %v", r, err)
	}
}

func BenchmarkCreateClose(b *testing.B) {
	dir := b.TempDir()
	r, err := OpenAt(dir + "/run")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d, err := r.Create(Info{Name: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		d.Close()
		b.StartTimer()
	}
}
