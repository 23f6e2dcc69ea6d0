package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"clone/internal/cgroup"
	"clone/internal/config"
	"clone/internal/console"
	"clone/internal/control"
	"clone/internal/disk"
	"clone/internal/snapshot"
	"clone/internal/timing"
	"clone/internal/virtio/vsock"
	"clone/internal/vmm"
)

// Source is where a paused machine comes from.
type Source interface {
	Config() config.VM
	Identity() config.Identity
	Template() string         // name of the template; "" for a boot
	Base() *snapshot.Template // what the memory began with; nil for a boot
	Clock() *snapshot.Clock   // where the guest's raw clock lies on its kvmclock; nil: not known
	// Warm maps what the paused machine will touch first, as far as that is known and takes no more than room bytes.
	Warm(m *vmm.Machine, room uint64) error
	NoteHot(*vmm.Machine) error // notes what a machine has touched on its way to readiness, or to the first word of its call
	AddedSlots() []int          // virtio slots filled that the guest has not seen yet
	Machine(vmm.Host) (*vmm.Machine, error)
	Close() // of what the machine was made of, which is needed as long as snapshots are taken of it
}

// Options are what does not change the machine.
type Options struct {
	Name    string // of the VM among those that run; may be empty
	Version string // of this clone
	Limits  cgroup.Limits
	NoKSM   bool // equal pages of guest RAM stay separate, even where the host merges
	Call    bool // the VM is for one command, which Ready runs; it calls Answered when that said its first word
	// ReadyTimeout is how long the guest's agent may take to answer.
	ReadyTimeout time.Duration
	// Started is called when the guest runs and its console can be attached; Ready when its agent answered.
	Started func(*Session)
	Ready   func(*Session)
	// End says how the end is recorded: the process's exit status, and the reason. Nil, or no reason, records nothing.
	End func(vmm.Outcome, error) (status int, reason, console string)
}

// Session is a running VM.
type Session struct {
	opts    Options
	source  Source
	dir     *control.Dir
	machine *vmm.Machine
	console *console.Console
	disks   []disk.Image
	stamps  []disk.Stamp // of each disk, when it was opened

	ready   chan struct{} // closed when the agent took the identity
	serving sync.WaitGroup

	snapshots chan struct{} // has room for one: whoever takes a snapshot
	stored    *stored       // what the VM was last stored as; guarded by snapshots

	states sync.Mutex // one at a time tells what the machine is doing

	asker atomic.Pointer[string] // who asked for the end first; nil: nobody
}

// Run makes the machine, lives its life, and returns how it ended. The end of ctx asks the guest to shut down and, after a
// while, insists. An error means that the machine could not be made, or not be made ready.
func Run(ctx context.Context, source Source, opts Options) (vmm.Outcome, error) {
	defer source.Close()
	registry, err := control.Open()
	if err != nil {
		return vmm.Outcome{}, err
	}
	s := &Session{opts: opts, source: source, ready: make(chan struct{}), snapshots: make(chan struct{}, 1)}
	cfg, id := source.Config(), source.Identity()
	if s.dir, err = registry.Create(control.Info{
		Name: opts.Name, Template: source.Template(), VCPUs: cfg.VCPUs, MemoryMiB: cfg.MemoryMiB,
		CID: id.CID, UUID: id.UUIDString(), Version: opts.Version, MemMax: opts.Limits.Memory, CPUMax: opts.Limits.CPU,
	}); err != nil {
		return vmm.Outcome{}, err
	}
	defer s.dir.Close()
	if opts.Limits.Any() {
		_ = registry.ReapGroups() // what earlier ones could not remove is not in this one's way
		leave, err := s.limit(opts.Limits)
		if err != nil {
			return vmm.Outcome{}, err
		}
		defer leave()
	}
	timing.Mark("directory made")
	out, err := s.run(ctx, cfg)
	s.recordEnd(out, err)
	return out, err
}

func (s *Session) run(ctx context.Context, cfg config.VM) (vmm.Outcome, error) {
	if err := s.openDisks(cfg.Disks); err != nil {
		return vmm.Outcome{}, err
	}
	defer s.closeDisks()
	if err := s.make(); err != nil {
		return vmm.Outcome{}, err
	}
	return s.live(ctx)
}

func (s *Session) openDisks(disks []config.Disk) error {
	for _, d := range disks {
		image, err := disk.OpenRaw(d.Path, disk.Options{ReadOnly: d.ReadOnly})
		if err == nil {
			s.disks = append(s.disks, image)
			err = s.stamp(image)
		}
		if err != nil {
			s.closeDisks()
			return err
		}
	}
	return nil
}

// stamp notes what the disk that was just opened holds. It must be what a template's memory knows: another file may have
// taken its path since the template was looked at.
func (s *Session) stamp(image disk.Image) error {
	stamp, err := image.Stamp()
	if err != nil {
		return err
	}
	if base := s.source.Base(); base != nil {
		if err := base.CheckDisk(len(s.stamps), stamp); err != nil {
			return err
		}
	}
	s.stamps = append(s.stamps, stamp)
	return nil
}

func (s *Session) closeDisks() {
	for _, d := range s.disks {
		d.Close()
	}
	s.disks = nil
}

// make builds the paused machine with its console.
func (s *Session) make() error {
	// The console types into a machine that does not exist yet, and the machine prints to the console.
	s.console = console.New(func(p []byte) { s.machine.Input(p) })
	machine, err := s.source.Machine(vmm.Host{
		Console: s.console, Disks: s.disks, DialHost: vsock.UnixDialer(s.dir.VsockSocket()),
	})
	if err != nil {
		return err
	}
	s.machine = machine
	timing.Mark("machine made")
	s.shareMemory()
	// With a memory limit, only a small part of that: what the guest does not touch after all counts too.
	room := uint64(math.MaxUint64)
	if limit := s.opts.Limits.Memory; limit != 0 {
		room = limit / 4
	}
	if err := s.source.Warm(machine, room); err != nil {
		machine.Close()
		return err
	}
	timing.Mark("memory warm")
	return nil
}

// live runs the machine to its end.
func (s *Session) live(ctx context.Context) (vmm.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer s.machine.Close()
	defer s.serving.Wait()
	defer cancel()
	defer s.console.Close()
	defer s.machine.CloseConsole() // the guest's last words are on their way

	listener, err := s.dir.Listen()
	if err != nil {
		return vmm.Outcome{}, err
	}
	defer listener.Close()
	s.serving.Go(func() { _ = control.Serve(listener, machineControl{s}) })

	if err := s.machine.Resume(); err != nil {
		return vmm.Outcome{}, err
	}
	timing.Mark("guest resumed")
	if s.opts.Started != nil {
		s.opts.Started(s)
	}
	failed := make(chan error, 1)
	s.serving.Go(func() {
		if err := s.becomeReady(ctx); err != nil {
			failed <- err
		}
	})
	asked := ctx.Done()
	for {
		select {
		case <-s.machine.Done():
			if out := s.machine.Outcome(); out.Kind != vmm.Failed {
				return out, nil
			} else {
				return out, out.Err
			}
		case err := <-failed:
			// An agent that hangs up may be the first sign of a guest that powers off. One that was waited for long enough
			// has not hung up.
			if !errors.Is(err, context.DeadlineExceeded) {
				select {
				case <-s.machine.Done():
				case <-ctx.Done():
				case <-time.After(lastBreath):
				}
			}
			if ctx.Err() == nil && !s.ended() {
				return vmm.Outcome{}, err
			}
		case <-asked:
			asked = nil // ask once; Shutdown insists by itself
			s.askedBy("a signal")
			if s.source.Template() != "" && !s.isReady() {
				s.machine.Stop() // half a fork is nobody's: its guest has nothing to say about it
				continue
			}
			s.serving.Go(func() {
				_ = s.shutdown(context.Background(), control.ShutdownRequest{TimeoutSeconds: shutdownGrace.Seconds()})
				s.machine.Stop()
			})
		}
	}
}

// lastBreath is how long a guest whose agent has gone may take to end by itself.
const lastBreath = 5 * time.Second

func (s *Session) ended() bool {
	select {
	case <-s.machine.Done():
		return true
	default:
		return false
	}
}

// Console attaches a reader.
func (s *Session) Console() *console.Stream { return s.console.Attach() }

// Info is what the session says of itself.
func (s *Session) Info() control.Info { return s.dir.Info() }

// serveVsock opens the guest to everybody who may use this VM.
func (s *Session) serveVsock() error {
	path := s.dir.VsockSocket()
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("make the vsock socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return err
	}
	s.serving.Go(func() { _ = s.machine.ServeVsock(listener) })
	s.serving.Go(func() {
		<-s.machine.Done()
		listener.Close()
	})
	return nil
}

var errEndedEarly = errors.New("the guest ended before its agent answered; `clone run` without --detach shows its console")
