package vmm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"clone/internal/bus"
	"clone/internal/config"
	"clone/internal/disk"
	"clone/internal/eventfd"
	"clone/internal/guestmem"
	"clone/internal/kvm"
	"clone/internal/virtio/mmio"
	"clone/internal/virtio/vsock"
	"clone/internal/x86"
)

// Host is what a machine is given by the process it lives in. The disks stay the caller's, who closes them after the
// machine.
type Host struct {
	Console io.Writer    // takes the serial port's output; a slow one loses bytes, it does not stop the guest
	Disks   []disk.Image // opened, in the order of the configuration's
	// DialHost connects a guest's vsock connection to the host's port. Nil refuses all.
	DialHost func(ctx context.Context, port uint32) (net.Conn, error)
}

// Machine is one virtual machine.
type Machine struct {
	cfg      config.VM
	identity config.Identity
	host     Host

	vm         *kvm.VM
	mem        *guestmem.Memory
	extended   extended
	cpuid      []kvm.CPUIDEntry   // what this host can offer; nil until asked
	guestCPUID [][]kvm.CPUIDEntry // what each vCPU is told
	scaledTSC  bool               // the TSC of the guest runs at another frequency than the host's
	vcpus      []*vcpu

	ports, mmio bus.Bus
	legacy      board
	slots       [x86.MMIOSlots]*mmio.Slot
	lines       [x86.MMIOSlots]*slotLine
	vsock       *vsock.Device
	events      []*eventfd.Event // of every interrupt

	gate    *gate
	life    lifecycle
	threads sync.WaitGroup
	resumed bool // at least once: there is a state to save
}

// build makes the machine without any processor or device state: Boot and Restore go on from here. Each processor's thread
// calls prime first.
// The memory belongs to the machine from then on, also after an error.
func build(cfg config.VM, id config.Identity, mem *guestmem.Memory, host Host, prime func(*vcpu) error) (m *Machine, err error) {
	m = &Machine{cfg: cfg, identity: id, host: host, mem: mem, gate: newGate()}
	m.life.done = make(chan struct{})
	m.life.paused = true
	defer func() {
		if err != nil {
			m.Close()
			m = nil
		}
	}()
	if err = cfg.Validate(); err != nil {
		return m, err
	}
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		return m, err
	}
	defer sys.Close()
	m.extended = extendedOf(sys)
	if m.vm, err = sys.CreateVM(); err != nil {
		return m, err
	}
	for i, r := range mem.Regions() {
		if err = m.vm.SetMemory(uint32(i), r.GPA, r.Host); err != nil {
			return m, err
		}
	}
	for _, step := range []func() error{
		func() error { return m.vm.SetIdentityMapAddr(x86.IdentityMapAddr) },
		func() error { return m.vm.SetTSSAddr(x86.TSSAddr) },
		m.vm.CreateIRQChip,
	} {
		if err = step(); err != nil {
			return m, err
		}
	}
	// The PIT waits for a kernel thread to start. Neither the rest of the board nor the processors wait for it, nor for
	// each other.
	primed, err := m.addVCPUs(prime)
	if err != nil {
		return m, err
	}
	pit := make(chan error, 1)
	go func() { pit <- m.vm.CreatePIT2() }()
	for _, step := range []func() error{m.addBoard, m.addSlots, m.addDevices} {
		if err = step(); err != nil {
			break
		}
	}
	return m, errors.Join(err, <-pit, primed())
}

// addVCPUs makes the processors and starts their threads. Primed waits until each has called prime.
func (m *Machine) addVCPUs(prime func(*vcpu) error) (primed func() error, err error) {
	for i := range m.cfg.VCPUs {
		cpu, err := m.vm.CreateVCPU(i)
		if err != nil {
			return nil, err
		}
		bell, err := eventfd.NewBell()
		if err != nil {
			return nil, errors.Join(err, cpu.Close())
		}
		v := &vcpu{id: i, cpu: cpu, bell: bell, machine: m}
		v.request.Store(requestPark)
		m.vcpus = append(m.vcpus, v)
	}
	// The threads start now, so that the first Resume has only to wake them: they park until then.
	errs := make(chan error, len(m.vcpus))
	for _, v := range m.vcpus {
		m.threads.Go(func() { v.loop(func() { errs <- prime(v) }) })
	}
	return func() (err error) {
		for range m.vcpus {
			err = errors.Join(err, <-errs)
		}
		return err
	}, nil
}

// Config is the machine's configuration.
func (m *Machine) Config() config.VM { return m.cfg }

// Identity is the machine's identity.
func (m *Machine) Identity() config.Identity { return m.identity }

// Memory is the guest's RAM.
func (m *Machine) Memory() *guestmem.Memory { return m.mem }

// Dial connects to a vsock port of the guest.
func (m *Machine) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	return m.vsock.Dial(ctx, port)
}

// ServeVsock accepts host clients on l, each of which names its port with "CONNECT port\n". It returns when l closes.
func (m *Machine) ServeVsock(l net.Listener) error { return m.vsock.Serve(l) }

// Close ends the machine and releases everything it owns: threads first, then devices, then memory. Closing it again
// does nothing.
func (m *Machine) Close() error {
	m.Stop()
	m.threads.Wait()
	m.life.mu.Lock()
	defer m.life.mu.Unlock()
	m.life.kicks.Lock()
	again := m.life.closed
	m.life.closed = true
	m.life.kicks.Unlock()
	if again {
		return nil
	}
	var errs []error
	for _, s := range m.slots {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if m.vsock != nil {
		errs = append(errs, m.vsock.Close())
	}
	m.legacy.close()
	for _, v := range m.vcpus {
		errs = append(errs, v.cpu.Close(), v.bell.Close())
	}
	for _, e := range m.events {
		errs = append(errs, e.Close())
	}
	if m.vm != nil {
		errs = append(errs, m.vm.Close())
	}
	return errors.Join(append(errs, m.mem.Close())...)
}

// supportedCPUID is hostCPUID, asked once.
func (m *Machine) supportedCPUID() (list []kvm.CPUIDEntry, err error) {
	if m.cpuid == nil {
		m.cpuid, err = hostCPUID()
	}
	return m.cpuid, err
}

// hostCPUID asks what this host can offer a guest.
func hostCPUID() ([]kvm.CPUIDEntry, error) {
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		return nil, err
	}
	defer sys.Close()
	list, err := sys.SupportedCPUID()
	if err != nil {
		return nil, fmt.Errorf("ask the processor's features: %w", err)
	}
	return list, nil
}
