package control

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEnded(t *testing.T) {
	r := testRegistry(t)
	if all, err := r.Ended(); err != nil || len(all) != 0 {
		t.Fatalf("at first: %v, %v", all, err)
	}
	d := create(t, r, Info{Name: "web", VCPUs: 2})
	if err := d.SetEnd(3, "because\nof\tthis "+strings.Repeat("x", 2*maxReason), strings.Repeat("é", MaxConsole)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	e, ok := r.EndOf(d.Info().ID, 0)
	if !ok || e.Name != "web" || e.VCPUs != 2 || e.State != StateEnded || e.Status != 3 || e.PID != os.Getpid() ||
		len(e.Console) == 0 || len(e.Console) > MaxConsole || strings.Trim(e.Console, "é") != "" ||
		!strings.HasPrefix(e.Reason, "because of this xxx") || len(e.Reason) != maxReason || time.Since(e.Ended) > time.Minute {
		t.Errorf("recorded %+v, %v", e, ok)
	}
	if all, err := r.Ended(); err != nil || len(all) != 1 || all[0].ID != e.ID {
		t.Errorf("all: %v, %v", all, err)
	}
}

// The VM's own word counts, also where its process is killed before it has removed its directory.
func TestEndOfKilled(t *testing.T) {
	r := testRegistry(t)
	said, silent := spawnVM(t, r, "said"), spawnVM(t, r, "")
	info, err := r.Find("said")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Dir{r: r, info: info}).SetEnd(0, "its own word", ""); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.EndOf(silent.id, 0); ok {
		t.Error("a live VM has ended")
	}
	if err := os.WriteFile(filepath.Join(r.Dir(silent.id), logName), []byte("panic: why\n\ngoroutine 1 [running]:\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	said.kill(t)
	silent.kill(t)
	if e, ok := r.EndOf(said.id, 0); !ok || e.Reason != "its own word" || e.Status != 0 {
		t.Errorf("%+v, %v", e, ok)
	}
	want := fmt.Sprintf("its process was killed or crashed (process %d) while it was starting: panic: why", silent.cmd.Process.Pid)
	if e, ok := r.EndOf(silent.id, 0); !ok || e.Reason != want || e.Status != StatusUnknown {
		t.Errorf("%+v, %v; want %q", e, ok, want)
	}
	if e, ok := r.EndOf("", silent.cmd.Process.Pid); !ok || e.ID != silent.id {
		t.Errorf("by PID: %+v, %v", e, ok)
	}
	if rest := left(t, r); len(rest) != 0 {
		t.Errorf("left behind: %v", rest)
	}
}

func TestOldRecordsAreForgotten(t *testing.T) {
	r := testRegistry(t)
	for i := range MaxEnded + 10 {
		id := fmt.Sprintf("%012x", i+0xa0000)
		if err := os.Mkdir(r.Dir(id), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := r.record(Ended{Info: Info{ID: id, PID: 1}, Ended: time.Unix(int64(i), 0), Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i-1000) * time.Second)
		if err := os.Chtimes(r.endedPath(id), at, at); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	all, err := r.Ended()
	if err != nil || len(all) < MaxEnded-1 || len(all) > MaxEnded+1 {
		t.Fatalf("%d records, %v", len(all), err)
	}
	if newest := all[0].ID; newest != fmt.Sprintf("%012x", MaxEnded+9+0xa0000) {
		t.Errorf("the newest is %s", newest)
	}
	entries, err := os.ReadDir(r.endedDir())
	if err != nil || len(entries) > MaxEnded {
		t.Errorf("%d files, %v", len(entries), err)
	}
}

// What cannot be recorded keeps no VM from being reaped.
func TestNoRecordIsNoObstacle(t *testing.T) {
	r := testRegistry(t)
	if err := os.WriteFile(r.endedDir(), nil, 0o600); err != nil { // no directory
		t.Fatal(err)
	}
	d := create(t, r, Info{Name: "a"})
	if err := d.SetEnd(0, "x", ""); err == nil {
		t.Error("recorded in a file")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	p := spawnVM(t, r, "b")
	p.kill(t)
	if infos := list(t, r); len(infos) != 0 || len(left(t, r)) != 0 {
		t.Errorf("%v, %v", infos, left(t, r))
	}
	if _, err := r.Find("b"); err == nil || strings.Contains(err.Error(), "ended") {
		t.Errorf("%v", err)
	}
}

func TestCrashWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "",
		"one\ntwo\x1b\n\n": "two",
		"unexpected fault address 0x7f\nfatal error: fault\n[signal SIGBUS: bus error code=0x2]\n\ngoroutine 7 [running]:\nruntime.throw\n": "unexpected fault address 0x7f fatal error: fault [signal SIGBUS: bus error code=0x2]",
		"noise\npanic: a\n\ngoroutine 1 [running]:\npanic: b":                                                                               "panic: a",
	} {
		if got := crashWords(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestSaid(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for ago, want := range map[time.Duration]string{
		-time.Second:             "it ended 0 s ago: r",
		12500 * time.Millisecond: "it ended 12 s ago: r",
		5 * time.Minute:          "it ended 5 min ago: r",
		50 * time.Hour:           "it ended at 2026-01-02 03:04:05: r",
	} {
		if got := (Ended{Ended: at, Reason: "r"}).Said(at.Add(ago)); got != want {
			t.Errorf("%v: %q, want %q", ago, got, want)
		}
	}
}
