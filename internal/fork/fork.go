// Package fork makes a machine out of a template: it opens the template, maps its layers copy-on-write, and restores the
// state with an identity of its own. Nothing of the memory is read or hashed on the way.
//
// It is not what makes the fork ready: that is the session's handshake with the agent. Main type: [Source].
package fork

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"clone/internal/config"
	"clone/internal/guestmem"
	"clone/internal/snapshot"
	"clone/internal/vmm"
)

// Options are what may differ between a fork and its template.
type Options struct {
	Hostname string        // empty: drawn with the identity
	Disks    []config.Disk // further disks; Slot is chosen here
	Verify   bool          // read and compare every checksum first
	Call     bool          // the fork is for one command, which runs as soon as it is ready
}

// Source is one fork to be.
type Source struct {
	template *snapshot.Template
	cfg      config.VM
	identity config.Identity
	added    []int
	note     string // the kind of note on hot pages that it goes by

	hot     []guestmem.Range // pages that forks touch first, where that is known
	unwatch func()           // ends the watch for them; nil: nobody watches
}

// Open opens a template for forking. The error says what is wrong with it, and what it lacks here.
func Open(store *snapshot.Store, name string, opts Options) (*Source, error) {
	t, err := store.Open(name)
	if err != nil {
		return nil, err
	}
	s, err := open(t, opts)
	if err != nil {
		t.Close()
	}
	return s, err
}

func open(t *snapshot.Template, opts Options) (s *Source, err error) {
	if opts.Verify {
		if err := t.Verify(func(done, total uint64) {}); err != nil {
			return nil, err
		}
	}
	if err := t.CheckDisks(); err != nil {
		return nil, err
	}
	s = &Source{template: t, cfg: t.Manifest.Config, identity: config.NewIdentity(opts.Hostname), note: noteFor(opts)}
	if !s.cfg.Agent {
		return nil, fmt.Errorf("template %s has no guest agent: a fork could not be given its own identity and clock", t.Name())
	}
	s.cfg.Disks = slices.Clone(s.cfg.Disks)
	for _, d := range opts.Disks {
		if d.Slot, err = s.cfg.FreeDiskSlot(); err != nil {
			return nil, err
		}
		s.cfg.Disks = append(s.cfg.Disks, d)
		s.added = append(s.added, d.Slot)
	}
	return s, nil
}

// Config is the fork's configuration.
func (s *Source) Config() config.VM { return s.cfg }

// Identity is the fork's own.
func (s *Source) Identity() config.Identity { return s.identity }

// Template is the name of what it is a fork of.
func (s *Source) Template() string { return s.template.Name() }

// Base is what it is a fork of, for a snapshot of the fork. It stays open until Close, whatever becomes of its files' names.
func (s *Source) Base() *snapshot.Template { return s.template }

// Close closes the template. Machines that were made of it go on.
func (s *Source) Close() { s.template.Close() }

// Clock places the guest's CLOCK_MONOTONIC_RAW on its kvmclock; nil where the template does not know.
func (s *Source) Clock() *snapshot.Clock { return s.template.Manifest.Clock }

// AddedSlots are the virtio slots that the template had empty and the fork has not.
func (s *Source) AddedSlots() []int { return s.added }

// Machine restores the fork, paused.
func (s *Source) Machine(host vmm.Host) (*vmm.Machine, error) {
	b, err := s.template.State()
	if err != nil {
		return nil, err
	}
	st, err := vmm.ParseState(b)
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", s.Template(), err)
	}
	image := s.template.Image().Pieces()
	pieces := make([]guestmem.Piece, len(image))
	for i, p := range image {
		pieces[i] = guestmem.Piece{Page: p.Page, Pages: p.Pages, File: p.File}
	}
	mem, err := guestmem.MapPieces(s.template.Manifest.Memory.SizeBytes, pieces)
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", s.Template(), err)
	}
	s.findHot(mem)
	origin := vmm.Origin{SameHost: s.sameHost()}
	m, err := vmm.Restore(s.cfg, s.identity, mem, st, origin, host)
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", s.Template(), err)
	}
	return m, nil
}

// sameHost tells whether the template was taken on this very boot of this host.
func (s *Source) sameHost() bool {
	id := BootID()
	return id != "" && id == s.template.Manifest.CPU.BootID
}

// BootID names this boot of this host, as the kernel does; "" when it does not tell.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
