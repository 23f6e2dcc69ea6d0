package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"clone/internal/config"
	"clone/internal/guestmem"
	"clone/internal/vmm"
	"clone/internal/x86"
)

// The tiny guest of the native measurements, in 32-bit protected mode: it waits until a word in its memory is no longer
// zero, prints 'F', and powers off. A machine is saved while it waits; a fork whose word was set ends at its second exit.
const (
	tinyEntry = 0x100000
	tinyFlag  = 0x5000
)

var tinyCode = []byte{
	0x83, 0x3d, tinyFlag & 0xff, 0x50, 0x00, 0x00, 0x00, // 1: cmp dword [tinyFlag], 0
	0x74, 0xf7, // je 1b
	0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xb0, 'F', // mov al, 'F'
	0xee,                   // out dx, al
	0x66, 0xba, 0x04, 0x06, // mov dx, 0x604
	0x66, 0xb8, 0x00, 0x34, // mov ax, 0x3400: S5
	0x66, 0xef, // out dx, ax
	0xeb, 0xfe, // hang
}

func tinyConfig() config.VM {
	return config.VM{Version: config.Version, MemoryMiB: config.MinMemoryMiB, VCPUs: 1, Agent: true, Slots: config.DefaultSlots()}
}

// tinyTemplate is a saved tiny guest.
type tinyTemplate struct {
	state  *vmm.State
	memory string // path of the memory image
}

func saveTiny(dir string) (t tinyTemplate, err error) {
	load := func(mem *guestmem.Memory) (x86.BootRegs, error) {
		return x86.ProtectedMode(tinyEntry, 0), mem.WriteAt(tinyCode, tinyEntry)
	}
	m, err := vmm.Boot(tinyConfig(), config.NewIdentity(""), load, vmm.Host{Console: io.Discard})
	if err != nil {
		return t, err
	}
	defer m.Close()
	if err := m.Resume(); err != nil {
		return t, err
	}
	if err := m.Pause(); err != nil {
		return t, err
	}
	if t.state, err = m.Save(); err != nil {
		return t, err
	}
	t.memory = filepath.Join(dir, "memory")
	f, err := os.Create(t.memory)
	if err != nil {
		return t, err
	}
	for _, r := range m.Memory().Regions() {
		if _, err := f.WriteAt(r.Host, int64(r.Offset)); err != nil {
			return t, errors.Join(err, f.Close())
		}
	}
	return t, f.Close()
}

// forkOnce restores the template and runs it to its first exits. The time is from the request to the end of the guest,
// which it reaches at its second exit; neither the teardown nor the word of it to this goroutine is part of it.
func (t tinyTemplate) forkOnce() (time.Duration, error) {
	began := time.Now()
	f, err := os.Open(t.memory)
	if err != nil {
		return 0, err
	}
	mem, err := guestmem.MapPrivate(f, config.MinMemoryMiB<<20)
	f.Close()
	if err != nil {
		return 0, err
	}
	m, err := vmm.Restore(tinyConfig(), config.NewIdentity(""), mem, t.state, vmm.Origin{SameHost: true}, vmm.Host{Console: io.Discard})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	if err := m.Memory().WriteAt([]byte{1, 0, 0, 0}, tinyFlag); err != nil {
		return 0, err
	}
	if err := m.Resume(); err != nil {
		return 0, err
	}
	<-m.Done()
	out := m.Outcome()
	if out.Kind != vmm.PowerOff {
		return 0, fmt.Errorf("the tiny guest ended with %v, %v", out.Kind, out.Err)
	}
	return out.At.Sub(began), nil
}

// engineBench compares the fork engine with the least that any program must do to run a copy of a mapped memory image.
func engineBench(n int) ([]Row, error) {
	dir, err := os.MkdirTemp("", "clone-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	t, err := saveTiny(dir)
	if err != nil {
		return nil, fmt.Errorf("tiny guest: %w", err)
	}
	saved, err := saveKernelState()
	if err != nil {
		return nil, fmt.Errorf("state of a bare machine: %w", err)
	}
	var engine, least, floor []time.Duration
	for range n {
		// Taken in turns, so that a noisy moment hits both.
		e, err := t.forkOnce()
		if err != nil {
			return nil, fmt.Errorf("fork: %w", err)
		}
		b, err := bareOnce(t.memory, nil)
		if err != nil {
			return nil, fmt.Errorf("bare program: %w", err)
		}
		f, err := bareOnce(t.memory, saved)
		if err != nil {
			return nil, fmt.Errorf("bare program with state: %w", err)
		}
		engine, least, floor = append(engine, e), append(least, b), append(floor, f)
	}
	return []Row{
		compare("fork engine: request → guest's first exits, tiny guest", engine, "a bare create-map-run program", least, 1.5),
		compare("the kernel's calls alone that restoring takes (PIT, events, clocks, CPUID, registers): no engine can be faster", floor,
			"the bare program, which restores nothing", least, 0),
	}, nil
}
