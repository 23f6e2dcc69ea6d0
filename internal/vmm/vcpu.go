package vmm

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"clone/internal/eventfd"
	"clone/internal/kvm"

	"golang.org/x/sys/unix"
)

// What a vCPU thread is asked to do at its next look.
const (
	requestRun = iota
	requestPark
	requestExit
)

// vcpu is one virtual processor and the thread that runs it.
type vcpu struct {
	id      int
	cpu     *kvm.VCPU
	bell    *eventfd.Bell // rung after request changed, for a parked thread
	machine *Machine
	request atomic.Uint32
	tid     atomic.Int32
	ran     bool // has entered the guest; its thread's own
}

// loop runs the guest until the machine ends, after it called first. The goroutine keeps its thread for ever: KVM ties a vCPU
// to the thread that ran it last, and kicks go to a thread.
func (v *vcpu) loop(first func()) {
	runtime.LockOSThread()
	v.tid.Store(int32(unix.Gettid()))
	first()
	for {
		// First take back the kick, then look for its reason: a request made in between finds either the look or a
		// Run that returns at once.
		v.cpu.SetImmediateExit(false)
		switch v.request.Load() {
		case requestExit:
			return
		case requestPark:
			if err := v.settle(); err != nil {
				v.machine.end(Outcome{Kind: Failed, Err: err})
			}
			v.machine.gate.park(v)
			continue
		}
		if err := v.step(); err != nil {
			v.machine.end(Outcome{Kind: Failed, Err: fmt.Errorf("vCPU %d: %w", v.id, err)})
		}
	}
}

// step enters the guest once and serves the exit.
func (v *vcpu) step() error {
	v.ran = true
	reason, err := v.cpu.Run()
	if err != nil {
		return err
	}
	return v.serve(reason)
}

// settle completes a port or MMIO access that was served but not yet taken over by the kernel: KVM does so on the
// next entry, and a state saved before that would repeat or lose the access. A vCPU that has not run has none, and may
// still be getting its state.
func (v *vcpu) settle() error {
	for v.ran {
		v.cpu.SetImmediateExit(true)
		reason, err := v.cpu.Run()
		if err != nil || reason == kvm.ExitIntr {
			return err
		}
		if err := v.serve(reason); err != nil {
			return err
		}
	}
	return nil
}

// kick makes the thread look at its request, which was set before. The order matters: request, immediate_exit, signal.
func (v *vcpu) kick() {
	v.cpu.SetImmediateExit(true)
	if tid := v.tid.Load(); tid != 0 {
		// SIGURG is the runtime's own preemption signal: its handler swallows a spurious one.
		_ = unix.Tgkill(unix.Getpid(), int(tid), unix.SIGURG)
	}
}
