package vmm

import (
	"errors"
	"sync"
	"time"
)

// ErrEnded is returned for what can no longer be done because the guest has ended.
var ErrEnded = errors.New("the virtual machine has ended")

// Kind says how a machine came to its end.
type Kind int

// The ways of ending.
const (
	PowerOff    Kind = iota // the guest entered S5
	Reboot                  // the guest asked for a reset (a panicking kernel does too)
	TripleFault             // a vCPU shut down
	Stopped                 // we were told to end it
	Failed                  // KVM or a device of ours cannot go on: Err says why
)

func (k Kind) String() string {
	return [...]string{"power off", "reboot", "triple fault", "stopped", "failed"}[k]
}

// Outcome is the end of a machine.
type Outcome struct {
	Kind Kind
	Err  error
	At   time.Time // when the vCPU, or whoever ended it, said so
}

// lifecycle is the machine's way from paused over running to ended.
type lifecycle struct {
	mu      sync.Mutex // serialises Pause, Resume, Save, Freeze, GiveBack and Close
	paused  bool
	once    sync.Once
	done    chan struct{}
	outcome Outcome

	kicks  sync.Mutex // guards the vCPUs against being kicked while, or after, they are closed
	closed bool
}

// Done is closed when the guest has ended; Outcome tells how.
func (m *Machine) Done() <-chan struct{} { return m.life.done }

// Outcome is valid once Done is closed.
func (m *Machine) Outcome() Outcome { return m.life.outcome }

// end records the first reason to end and makes every vCPU thread leave. Safe from any goroutine, vCPU threads included.
func (m *Machine) end(o Outcome) {
	m.life.once.Do(func() {
		o.At = time.Now()
		m.life.outcome = o
		close(m.life.done)
	})
	m.life.kicks.Lock()
	if !m.life.closed {
		for _, v := range m.vcpus {
			v.request.Store(requestExit)
			v.bell.Ring()
			v.kick()
		}
	}
	m.life.kicks.Unlock()
	m.gate.wake()
}

// Stop ends the machine from outside.
func (m *Machine) Stop() { m.end(Outcome{Kind: Stopped}) }

func (m *Machine) ended() bool {
	select {
	case <-m.life.done:
		return true
	default:
		return false
	}
}

// Pause freezes the machine: the vCPUs first, then the devices, each drained so that nothing touches guest memory.
// A paused machine stays so; pausing it again does nothing.
func (m *Machine) Pause() error {
	m.life.mu.Lock()
	defer m.life.mu.Unlock()
	return m.pause()
}

func (m *Machine) pause() error {
	if m.life.paused {
		return nil
	}
	for _, v := range m.vcpus {
		// Exit, once requested, is never taken back.
		if v.request.CompareAndSwap(requestRun, requestPark) {
			v.kick()
		}
	}
	if !m.gate.waitParked(len(m.vcpus), m.ended) {
		return ErrEnded
	}
	for _, s := range m.slots {
		s.Pause()
	}
	m.life.paused = true
	return nil
}

// Resume lets a paused machine go on: devices first, so that they serve when the first vCPU looks. It goes on even if the
// error says that a device does not.
func (m *Machine) Resume() error {
	m.life.mu.Lock()
	defer m.life.mu.Unlock()
	return m.resume()
}

func (m *Machine) resume() error {
	if m.ended() {
		return ErrEnded
	}
	if !m.life.paused {
		return nil
	}
	var errs []error
	for _, s := range m.slots {
		// A device that does not start asks its driver for a reset: it is broken, and not the machine.
		errs = append(errs, s.Resume())
	}
	if m.resumed {
		for _, v := range m.vcpus {
			// Its clock went on: a guest that was not told would take the gap for a lockup. One without kvmclock has no such flag.
			_ = v.cpu.KVMClockCtrl()
		}
	} else {
		m.threads.Go(m.shortenKicks)
	}
	m.life.paused, m.resumed = false, true
	for _, v := range m.vcpus {
		v.request.CompareAndSwap(requestPark, requestRun)
		v.bell.Ring()
	}
	return errors.Join(errs...)
}

// Paused tells whether the machine is paused.
func (m *Machine) Paused() bool {
	m.life.mu.Lock()
	defer m.life.mu.Unlock()
	return m.life.paused
}
