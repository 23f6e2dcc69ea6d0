package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"clone/internal/config"
	"clone/internal/control"
	"clone/internal/fork"
	"clone/internal/guestmem"
	"clone/internal/snapshot"
	"clone/internal/vmm"
	"clone/internal/x86"
)

// Processes are killed in the middle of what they do, at random moments and when a step can be seen from outside, hundreds
// of times. After each: the next command works, pruning leaves nothing of the dead, sealed templates are what they were,
// and no process is left. The guest is a HLT instruction, so /dev/kvm may be one that cannot run a kernel; it has no agent, so
// a fork stays on its way to readiness until it is killed, which is where it has most to leave behind. Snapshots need an
// agent: here a program writes templates as a VM does; test/e2e kills VMs in the middle of real ones.

// halting is a guest that halts: 1: hlt; jmp 1b.
var halting = []byte{0xf4, 0xeb, 0xfd}

// saveHalted stores a guest that halts as a template.
func saveHalted(home, name string) error { return saveGuest(home, name, halting) }

// saveGuest stores a guest with one page of 32-bit code as a template.
func saveGuest(home, name string, code []byte) error {
	cfg := config.VM{Version: config.Version, MemoryMiB: config.MinMemoryMiB, VCPUs: 1, Agent: true, Slots: config.DefaultSlots()}
	const entry = 0x100000
	load := func(mem *guestmem.Memory) (x86.BootRegs, error) {
		return x86.ProtectedMode(entry, 0), mem.WriteAt(code, entry)
	}
	m, err := vmm.Boot(cfg, config.NewIdentity(""), load, vmm.Host{Console: io.Discard})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := errors.Join(m.Resume(), m.Pause()); err != nil {
		return err
	}
	st, err := m.Save()
	if err != nil {
		return err
	}
	state, err := st.MarshalBinary()
	if err != nil {
		return err
	}
	return sealTemplate(home, name, cfg, state, m.Memory())
}

func sealTemplate(home, name string, cfg config.VM, state []byte, mem *guestmem.Memory) error {
	frozen, err := mem.Freeze()
	if err != nil {
		return err
	}
	defer frozen.Close()
	store, err := snapshot.OpenStore(home)
	if err != nil {
		return err
	}
	w, err := store.Create(name, snapshot.Manifest{Config: cfg, CPU: snapshot.CPU{BootID: fork.BootID()}})
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := errors.Join(w.State(state), w.Memory(context.Background(), snapshot.Contents{Own: frozen})); err != nil {
		return err
	}
	_, err = w.Commit()
	return err
}

// writeTemplate is a program that stores a copy of the template of its first argument under the name of its second.
func writeTemplate() {
	err := func() error {
		store, err := openStore()
		if err != nil {
			return err
		}
		t, err := store.Open(os.Args[1])
		if err != nil {
			return err
		}
		state, err := t.State()
		if err != nil {
			return err
		}
		defer t.Close()
		b, err := os.ReadFile(filepath.Join(store.Root(), os.Args[1], "memory"))
		if err != nil {
			return err
		}
		mem, err := guestmem.NewAnonymous(t.Manifest.Memory.SizeBytes)
		if err != nil {
			return err
		}
		const page = 4096
		for at := 0; at < len(b); at += page {
			if p := b[at:][:page]; !bytes.Equal(p, make([]byte, page)) {
				if err := mem.WriteAt(p, uint64(at)); err != nil {
					return err
				}
			}
		}
		return sealTemplate(os.Getenv("CLONE_HOME"), os.Args[2], t.Manifest.Config, state, mem)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// killer starts processes and kills them.
type killer struct {
	t        *testing.T
	home     string
	run      string
	registry *control.Registry
	store    *snapshot.Store
	random   *rand.Rand
	sealed   map[string][32]byte // files of the template, at the beginning
	rounds   int
}

func newKiller(t *testing.T) *killer {
	t.Helper()
	k := &killer{t: t}
	for _, dir := range []*string{&k.home, &k.run} {
		var err error
		if *dir, err = os.MkdirTemp("", "clone"); err != nil { // short, for sockets
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(*dir) })
	}
	t.Setenv("CLONE_HOME", k.home)
	t.Setenv("CLONE_RUNTIME_DIR", k.run)
	if err := saveHalted(k.home, "halted"); err != nil {
		t.Fatal(err)
	}
	var err error
	if k.registry, err = control.Open(); err != nil {
		t.Fatal(err)
	}
	if k.store, err = openStore(); err != nil {
		t.Fatal(err)
	}
	k.sealed = k.sums("halted")
	seed := uint64(time.Now().UnixNano())
	k.random = rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	return k
}

func (k *killer) sums(template string) map[string][32]byte {
	k.t.Helper()
	sums := map[string][32]byte{}
	dir := filepath.Join(k.store.Root(), template)
	files, err := os.ReadDir(dir)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			k.t.Fatal(err)
		}
		sums[f.Name()] = sha256.Sum256(b)
	}
	return sums
}

// start starts a program whose output nobody wants.
func (k *killer) start(name string, args ...string) *exec.Cmd {
	k.t.Helper()
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// fork starts a fork of the halted guest.
func (k *killer) fork(flags ...string) *exec.Cmd {
	return k.start("clone", append([]string{"fork", "--template", "halted", "--name", "f"}, flags...)...)
}

// paths that appear as a fork goes its way, as patterns below the run-time directory.
var forkSteps = []string{"????????????", "????????????/lock", "????????????/vm.json", "names/f", "????????????/control.sock"}

// appears waits until something fits the pattern.
func (k *killer) appears(pattern string) {
	k.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Microsecond) {
		if found, _ := filepath.Glob(filepath.Join(k.run, pattern)); len(found) > 0 {
			return
		}
		if time.Now().After(end) {
			k.t.Fatalf("waited in vain for %s", pattern)
		}
	}
}

// whole starts a fork, waits until it is as far as it comes, and returns it and how long that took.
func (k *killer) whole() (*exec.Cmd, time.Duration) {
	k.t.Helper()
	began := time.Now()
	cmd := k.fork()
	k.appears("????????????/control.sock")
	return cmd, time.Since(began)
}

// usual is how long that takes once everything is in the page cache.
func (k *killer) usual() (took time.Duration) {
	k.t.Helper()
	for range 3 {
		var cmd *exec.Cmd
		cmd, took = k.whole()
		kill(cmd)
		k.clean("killed when it was whole")
	}
	return took
}

// clean prunes, and checks that there is nothing left that was not there at the beginning.
func (k *killer) clean(after string) {
	k.t.Helper()
	k.rounds++
	if _, err := prune(true); err != nil {
		k.t.Fatalf("%s: prune: %v", after, err)
	}
	var left []string
	for _, dir := range []string{k.run, k.store.Root()} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if name, _ := filepath.Rel(dir, path); err == nil {
				left = append(left, name)
			}
			return err
		})
		if err != nil {
			k.t.Fatal(err)
		}
	}
	want := []string{".", ".", "halted", "halted/manifest.json", "halted/manifest.sha256", "halted/memory", "halted/state"}
	left = slices.DeleteFunc(left, func(name string) bool { return name == "ended" || name == "names" || name == "lock" })
	if !slices.Equal(left, want) {
		k.t.Fatalf("%s: left behind: %v", after, left)
	}
}

// noProcess checks that no process of this test's VMs is left.
func (k *killer) noProcess() {
	k.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := k.processes()
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			k.t.Fatalf("processes are left: %v", left)
		}
	}
}

func (k *killer) processes() (left []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		pid := filepath.Base(filepath.Dir(path))
		b, err := os.ReadFile(path)
		if err == nil && pid != strconv.Itoa(os.Getpid()) && strings.Contains(string(b), k.run) {
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			left = append(left, pid+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return left
}

// unharmed checks the sealed template.
func (k *killer) unharmed() {
	k.t.Helper()
	t, err := k.store.Open("halted")
	if err == nil {
		err = t.Verify(func(done, total uint64) {})
		t.Close()
	}
	if err != nil {
		k.t.Fatal(err)
	}
	if !maps.Equal(k.sums("halted"), k.sealed) {
		k.t.Fatal("the template's files have changed")
	}
}

// some is a random part of a duration, and a little beyond it.
func (k *killer) some(d time.Duration) time.Duration {
	return time.Duration(k.random.Int64N(int64(d) * 5 / 4))
}

const killRounds = 80 // of each kind; half as many where a round takes longer

func TestKilledWhileForking(t *testing.T) {
	k := newKiller(t)
	took := k.usual()
	for i := range killRounds {
		cmd := k.fork()
		after := ""
		if i%2 == 0 {
			delay := k.some(took)
			after = fmt.Sprintf("killed %v after its start, of %v", delay, took)
			time.Sleep(delay)
		} else {
			step := forkSteps[i/2%len(forkSteps)]
			after = "killed when there was " + step
			k.appears(step)
		}
		kill(cmd)
		if i%4 == 3 { // the next command needs no prune
			next, _ := k.whole()
			kill(next)
		}
		k.clean(after)
	}
	k.unharmed()
	k.noProcess()
	t.Logf("%d rounds; a fork took %v to its control socket", k.rounds, took)
}

// The process that waits for a detached VM is killed, or the VM's is.
func TestKilledWhileDetaching(t *testing.T) {
	k := newKiller(t)
	took := k.usual()
	for i := range killRounds / 2 {
		cmd := k.fork("--detach")
		delay := k.some(2 * took)
		time.Sleep(delay)
		if vms, _ := k.registry.List(); i%2 == 0 && len(vms) == 1 {
			p, err := os.FindProcess(vms[0].PID)
			if err != nil {
				t.Fatal(err)
			}
			_ = p.Kill()
			if err := cmd.Wait(); err == nil {
				t.Fatal("the waiting process has not noticed")
			}
		} else {
			kill(cmd)
		}
		k.noProcess()
		k.clean(fmt.Sprintf("killed %v after its start", delay))
	}
	k.unharmed()
	t.Logf("%d rounds", k.rounds)
}

// In the middle of clone destroy, that command is killed, or the VM is, or both.
func TestKilledWhileDestroying(t *testing.T) {
	k := newKiller(t)
	vm, _ := k.whole()
	began := time.Now()
	if out, err := exec.Command("clone", "destroy", "--force", "f").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	took := time.Since(began)
	_ = vm.Wait()
	for i := range killRounds {
		vm, _ := k.whole()
		destroy := k.start("clone", "destroy", "--force", "f")
		delay := k.some(took)
		time.Sleep(delay)
		switch i % 3 {
		case 0:
			kill(destroy)
			if found, _ := k.registry.List(); len(found) == 1 && i%2 == 0 { // the next one finishes what this one began
				_ = exec.Command("clone", "destroy", "--force", "f").Run()
			}
			kill(vm)
		case 1:
			kill(vm)
			_ = destroy.Wait()
		case 2:
			kill(destroy)
			kill(vm)
		}
		k.clean(fmt.Sprintf("kind %d, killed %v after its start, of %v", i%3, delay, took))
	}
	k.unharmed()
	k.noProcess()
	t.Logf("%d rounds; clone destroy took %v", k.rounds, took)
}

// A template is written or removed, and whoever does it is killed: it is whole or not there.
func TestKilledWhileWritingTemplates(t *testing.T) {
	k := newKiller(t)
	began := time.Now()
	if out, err := exec.Command("writetemplate", "halted", "t").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	writing := time.Since(began)
	began = time.Now()
	if out, err := exec.Command("clone", "template", "rm", "t").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	removing := time.Since(began)
	written, removed := 0, 0
	exists := func() bool {
		if !k.store.Exists("t") {
			return false
		}
		tpl, err := k.store.Open("t")
		if err == nil {
			err = tpl.Verify(func(done, total uint64) {})
			tpl.Close()
		}
		if err != nil {
			t.Fatalf("half a template has a name: %v", err)
		}
		return true
	}
	for range killRounds {
		cmd := k.start("writetemplate", "halted", "t")
		delay := k.some(writing)
		time.Sleep(delay)
		kill(cmd)
		if exists() {
			written++
			cmd = k.start("clone", "template", "rm", "t")
			time.Sleep(k.some(removing))
			kill(cmd)
			if !exists() {
				removed++
			} else if err := k.store.Remove([]string{"t"}, false); err != nil { // the next command works
				t.Fatal(err)
			}
		}
		k.clean(fmt.Sprintf("killed %v after its start, of %v", delay, writing))
	}
	k.unharmed()
	k.noProcess()
	t.Logf("%d rounds, of them %d written, %d removed; writing took %v, removing %v", k.rounds, written, removed, writing, removing)
}
