package mmio_test

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"clone/internal/eventfd"
	"clone/internal/virtio"
	"clone/internal/virtio/mmio"
	"clone/internal/virtio/virtiotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStartFails(t *testing.T) {
	dev := newScripted()
	dev.start = func(*virtio.Session) error { return errScripted }
	dev.stop = func(*virtio.Session) { t.Error("Stop without a Start that succeeded") }
	d := virtiotest.NewDriver(t, dev)
	d.Setup(d.Offered())
	d.SetDriverOK()
	d.WaitNeedsReset()
	if err := d.Slot().Failure(); !errors.Is(err, errScripted) {
		t.Errorf("failure is %v", err)
	}
	d.Reset()
	if err := d.Slot().Failure(); err != nil {
		t.Errorf("failure after reset: %v", err)
	}
	dev.start, dev.stop = nil, nil
	d.Start(d.Offered())
	echo(t, d)
}

// TestFailStopsService checks that a device in need of a reset is not asked to serve, paused and restored or not.
func TestFailStopsService(t *testing.T) {
	dev := newScripted()
	calls := make(chan int, 16)
	dev.handle = func(s *virtio.Session, i int) {
		calls <- i
		if i == 0 {
			s.Fail(errScripted)
			s.Fail(errors.New("a later reason"))
		}
	}
	d := virtiotest.NewDriver(t, dev)
	d.Setup(d.Offered())
	d.SetDriverOK()
	d.WaitNeedsReset()
	if err := d.Slot().Failure(); err != errScripted {
		t.Errorf("failure is %v, want the first", err)
	}
	for range 2 { // when the second signal is taken, what followed from the first is over
		for i, kick := range d.Slot().Kicks() {
			d.Notify(i)
			untilTaken(t, kick)
		}
	}
	d.Pause() // joins the workers
	for served := map[int]int{}; len(calls) > 0; {
		i := <-calls
		if served[i]++; served[i] > 1 {
			t.Errorf("queue %d is served after the failure", i)
		}
	}
	d.Resume()
	if d.Status()&virtiotest.StatusNeedsReset == 0 {
		t.Error("a pause heals the device")
	}
	d.Pause()
	if len(calls) > 0 {
		t.Error("the device is started although it needs a reset")
	}
	d.Resume()
	d.Reset()
}

// untilTaken returns when a worker has taken the event's signals.
func untilTaken(t *testing.T, kick *eventfd.Event) {
	t.Helper()
	for deadline := time.Now().Add(virtiotest.Patience); ; runtime.Gosched() {
		poll := []unix.PollFd{{Fd: int32(kick.FD()), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 0); n == 0 && err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody takes the notification")
		}
	}
}

// TestFailWhileReset has a worker fail while the driver's reset waits for that worker with the slot's lock held.
func TestFailWhileReset(t *testing.T) {
	for _, end := range []struct {
		name string
		call func(*virtiotest.Driver)
	}{
		{"reset", (*virtiotest.Driver).Reset},
		{"pause", (*virtiotest.Driver).Pause},
		{"close", (*virtiotest.Driver).Close},
		{"FAILED", func(d *virtiotest.Driver) { d.Write(virtiotest.RegStatus, virtiotest.StatusFailed) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			dev := newScripted()
			entered, leave := make(chan struct{}, 2), make(chan struct{})
			dev.handle = func(s *virtio.Session, i int) {
				entered <- struct{}{}
				<-leave
				s.ConfigChanged()
				s.Fail(errScripted)
			}
			dev.stop = func(s *virtio.Session) {
				s.ConfigChanged()
				s.Fail(errScripted)
			}
			d := virtiotest.NewDriver(t, dev)
			d.Start(d.Offered())
			<-entered
			<-entered
			done := make(chan struct{})
			go func() {
				defer close(done)
				end.call(d)
			}()
			// Status and interrupt registers answer while the slot is busy with its workers.
			d.Read(virtiotest.RegInterruptStatus)
			d.Write(virtiotest.RegInterruptACK, 3)
			close(leave)
			<-done
		})
	}
}

// TestLateCalls keeps a session over a reset: what it says then is nobody's business.
func TestLateCalls(t *testing.T) {
	dev := newScripted()
	d := virtiotest.NewDriver(t, dev)
	d.Start(d.Offered())
	late := dev.session.Load()
	d.Reset()
	generation := d.Read(virtiotest.RegConfigGeneration)
	late.Fail(errScripted)
	late.ConfigChanged()
	if d.Status() != 0 || d.Read(virtiotest.RegConfigGeneration) != generation || d.Slot().Failure() != nil {
		t.Error("a session that is over fails the device")
	}
	d.Start(d.Offered())
	late.Fail(errScripted)
	if d.Status()&virtiotest.StatusNeedsReset != 0 {
		t.Error("a session that is over fails the next one")
	}
	echo(t, d)
}

func TestConfigChanged(t *testing.T) {
	dev := newScripted()
	d := virtiotest.NewDriver(t, dev)
	d.Start(d.Offered())
	generation := d.Read(virtiotest.RegConfigGeneration)
	dev.session.Load().ConfigChanged()
	d.WaitConfigChange(generation)

	// While paused the notification waits.
	generation = d.Read(virtiotest.RegConfigGeneration)
	d.Pause()
	dev.session.Load().ConfigChanged()
	if d.Read(virtiotest.RegInterruptStatus) != 2 {
		t.Error("a change while paused is forgotten")
	}
	d.Resume()
	d.WaitConfigChange(generation)
	if d.Read(virtiotest.RegInterruptStatus) != 0 {
		t.Error("the interrupt was not raised again by Resume")
	}
}

// TestInterruptOrder checks that the status bit is there when the edge comes.
func TestInterruptOrder(t *testing.T) {
	var slot *mmio.Slot
	raised := make(chan uint32, 16)
	slot = mmio.New(newMemory(t), func() { raised <- read(slot, 0x60) })
	dev := newScripted()
	dev.start = func(s *virtio.Session) error {
		s.ConfigChanged()
		return errScripted
	}
	if err := slot.Plug(dev); err != nil {
		t.Fatal(err)
	}
	write(slot, 0x24, 1)
	write(slot, 0x20, 1)
	write(slot, 0x70, 8)
	write(slot, 0x70, 12)
	for range 2 { // the change and the failure
		if got := <-raised; got != 2 {
			t.Errorf("interrupt status %#x at the edge", got)
		}
	}
	slot.Pause()
	if err := slot.Resume(); err != nil { // it needs a reset: there is nothing to start
		t.Error(err)
	}
	if got := <-raised; got != 2 {
		t.Errorf("interrupt status %#x at the edge of Resume", got)
	}
	write(slot, 0x64, 2)
	slot.Pause()
	if err := slot.Resume(); err != nil || len(raised) != 0 {
		t.Errorf("resume raises an interrupt for nothing: %v", err)
	}
	if err := slot.Close(); err != nil {
		t.Error(err)
	}
}

// TestKicks notifies through the event, as KVM's ioeventfd does, and through the register.
func TestKicks(t *testing.T) {
	dev := newScripted()
	handled := make(chan int, 8)
	dev.handle = func(_ *virtio.Session, i int) { handled <- i }
	d := virtiotest.NewDriver(t, dev)
	kicks := d.Slot().Kicks()
	if len(kicks) != 2 {
		t.Fatalf("%d events for two queues", len(kicks))
	}
	d.Start(d.Offered())
	if sum := <-handled + <-handled; sum != 1 {
		t.Error("not every queue is looked at after the start")
	}
	kicks[1].Signal()
	if i := <-handled; i != 1 {
		t.Errorf("queue %d handled after the event of queue 1", i)
	}
	d.Notify(0)
	if i := <-handled; i != 0 {
		t.Errorf("queue %d handled after a notification of queue 0", i)
	}
	d.Write(virtiotest.RegQueueNotify, 2) // no such queue
	d.Write(virtiotest.RegQueueNotify, 0xffffffff)
	d.Pause()
	if len(handled) != 0 {
		t.Error("a notification of no queue is handled")
	}
}

// TestLostKick makes a chain available while the device is paused, and loses the notification with the slot.
func TestLostKick(t *testing.T) {
	d := virtiotest.NewDriver(t, virtiotest.NewEcho())
	d.Start(d.Offered())
	d.Pause()
	in := d.In(4)
	d.Submit(0, d.Out([]byte("late")), in)
	d.Migrate(virtiotest.NewEcho())
	d.Resume()
	d.Wait(0)
	if got := string(d.Bytes(in)); got != "late" {
		t.Errorf("%q", got)
	}
}

func TestResumeFails(t *testing.T) {
	dev := newScripted()
	d := virtiotest.NewDriver(t, dev)
	d.Start(d.Offered())
	d.Slot().Pause()
	dev.start = func(s *virtio.Session) error {
		if !s.Resumed {
			t.Error("session is new after Resume")
		}
		return errScripted
	}
	if err := d.Slot().Resume(); !errors.Is(err, errScripted) {
		t.Errorf("resume: %v", err)
	}
	d.WaitNeedsReset()
	dev.start = func(s *virtio.Session) error {
		if s.Resumed {
			t.Error("session goes on after reset")
		}
		return nil
	}
	d.Reset()
	d.Start(d.Offered())
	echo(t, d)
}

// TestConcurrentRegisters lets several vCPUs at one slot, with resets among what they do.
func TestConcurrentRegisters(t *testing.T) {
	d := virtiotest.NewDriver(t, virtiotest.NewEcho())
	d.Setup(d.Offered())
	d.Go()
	var vcpus sync.WaitGroup
	for cpu := range uint32(4) {
		vcpus.Go(func() {
			for i := range uint32(300) {
				write(d.Slot(), 0x50, i&1)
				write(d.Slot(), 0x64, 3)
				read(d.Slot(), 0x60)
				read(d.Slot(), 0x100)
				write(d.Slot(), 0x100, i)
				write(d.Slot(), 0x30, i&3)
				read(d.Slot(), 0x44)
				if i%50 == cpu {
					write(d.Slot(), 0x70, i&15)
				}
			}
		})
	}
	vcpus.Wait()
	d.Reset()
	d.Start(d.Offered())
	echo(t, d)
}

func TestCloseTwice(t *testing.T) {
	s := newSlot(t, virtiotest.NewEcho())
	kick := s.Kicks()[0]
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	kick.Signal() // a vCPU's last write
	write(s, 0x50, 0)
}
