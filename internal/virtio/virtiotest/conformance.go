package virtiotest

import (
	"io"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"clone/internal/virtio"
)

// Options is what the suite cannot know of a device.
type Options struct {
	// Request returns the buffers of a valid request that the device answers without help from outside, on Queue. It is
	// called after Start. Without it the device is not asked anything.
	Request func(d *Driver) []Buffer
	Queue   int

	// Check looks at an answered request; nil checks nothing.
	Check func(t testing.TB, d *Driver, bufs []Buffer, written uint32)

	// Lazy are queues that the device takes chains from only when it has something to tell the driver: what is wrong
	// with their rings is not noticed before.
	Lazy []int
}

// Conformance is the battery every device passes. newDevice returns a device in reset each time it is called; one that
// is an io.Closer is closed when its test ends. Devices of one suite must be able to live side by side.
func Conformance(t *testing.T, newDevice func() virtio.Device, opts Options) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	for _, c := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"Spec", testSpec},
		{"Registers", testRegisters},
		{"Negotiation", testNegotiation},
		{"ConfigSpace", testConfigSpace},
		{"Requests", testRequests},
		{"IndexWrap", testIndexWrap},
		{"ResetInFlight", testResetInFlight},
		{"PauseInFlight", testPauseInFlight},
		{"MigrateInFlight", testMigrateInFlight},
		{"SaveInReset", testSaveInReset},
		{"DamagedState", testDamagedState},
		{"MalformedRings", testMalformedRings},
		{"UnusedQueues", testUnusedQueues},
		{"RandomRegisters", testRandomRegisters},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, &suite{Options: opts, t: t, newDevice: newDevice})
		})
	}
	goleak.VerifyNone(t, before)
}

// suite is one test of the battery.
type suite struct {
	Options
	t         *testing.T
	newDevice func() virtio.Device
}

// with is the suite for a test below this one.
func (s *suite) with(t *testing.T) *suite {
	return &suite{Options: s.Options, t: t, newDevice: s.newDevice}
}

// device returns a new device that is closed when the test ends.
func (s *suite) device() virtio.Device {
	return owned(s.t, s.newDevice())
}

func owned(t testing.TB, dev virtio.Device) virtio.Device {
	if c, ok := dev.(io.Closer); ok {
		t.Cleanup(func() { _ = c.Close() })
	}
	return dev
}

// driver returns a driver over a new device. Cleanups run last first: the slot goes before its device.
func (s *suite) driver() *Driver {
	return NewDriver(s.t, s.device())
}

func (s *suite) lazy(queue int) bool { return slices.Contains(s.Lazy, queue) }

// work makes one request and checks the answer: the device is alive.
func (s *suite) work(d *Driver) {
	s.t.Helper()
	if s.Request != nil {
		bufs := s.Request(d)
		s.check(d, bufs, d.Do(s.Queue, bufs...))
	}
}

func (s *suite) check(d *Driver, bufs []Buffer, written uint32) {
	s.t.Helper()
	if s.Check != nil {
		s.Check(s.t, d, bufs, written)
	}
}

// flood submits as many requests as fit into half the ring, and returns what collect needs.
func (s *suite) flood(d *Driver) map[uint16][]Buffer {
	s.t.Helper()
	sent := map[uint16][]Buffer{}
	if s.Request == nil {
		return sent
	}
	for room := d.RingSize(s.Queue) / 2; ; {
		bufs := s.Request(d)
		if room -= len(bufs); room < 0 && len(sent) > 0 {
			return sent
		}
		sent[d.Submit(s.Queue, bufs...)] = bufs
	}
}

// collect waits for everything that was sent; the driver checks that each is used once.
func (s *suite) collect(d *Driver, sent map[uint16][]Buffer) {
	s.t.Helper()
	for range sent {
		u := d.Wait(s.Queue)
		s.check(d, sent[u.Head], u.Len)
	}
	if u, more := d.Poll(s.Queue); s.Request != nil && more {
		s.t.Fatalf("chain %d used twice", u.Head)
	}
}
