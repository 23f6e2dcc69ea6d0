package mmio_test

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"

	"clone/internal/guestmem"
	"clone/internal/virtio"
	"clone/internal/virtio/mmio"
	"clone/internal/virtio/virtiotest"
)

// scripted is an Echo whose calls a test can replace.
type scripted struct {
	*virtiotest.Echo
	session atomic.Pointer[virtio.Session]

	start  func(*virtio.Session) error
	handle func(s *virtio.Session, queue int)
	stop   func(*virtio.Session)
	save   func() ([]byte, error)
	load   func([]byte) error
}

func newScripted() *scripted { return &scripted{Echo: virtiotest.NewEcho()} }

func (d *scripted) Start(s *virtio.Session) error {
	d.session.Store(s)
	if d.start != nil {
		if err := d.start(s); err != nil {
			return err
		}
	}
	return d.Echo.Start(s)
}

func (d *scripted) HandleQueue(i int) {
	if d.handle != nil {
		d.handle(d.session.Load(), i)
		return
	}
	d.Echo.HandleQueue(i)
}

func (d *scripted) Stop() {
	if d.stop != nil {
		d.stop(d.session.Load())
	}
	d.Echo.Stop()
}

func (d *scripted) Save() ([]byte, error) {
	if d.save != nil {
		return d.save()
	}
	return d.Echo.Save()
}

func (d *scripted) Load(p []byte) error {
	if d.load != nil {
		return d.load(p)
	}
	return d.Echo.Load(p)
}

var errScripted = errors.New("scripted failure")

func read(s *mmio.Slot, reg uint64) uint32 {
	b := []byte{0xff, 0xff, 0xff, 0xff}
	s.Read(reg, b)
	return binary.LittleEndian.Uint32(b)
}

func write(s *mmio.Slot, reg uint64, v uint32) {
	s.Write(reg, binary.LittleEndian.AppendUint32(nil, v))
}

func newMemory(t testing.TB) *guestmem.Memory {
	t.Helper()
	mem, err := guestmem.NewAnonymous(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	return mem
}

func newSlot(t testing.TB, dev virtio.Device) *mmio.Slot {
	t.Helper()
	slot := mmio.New(newMemory(t), func() {})
	t.Cleanup(func() { _ = slot.Close() })
	if dev != nil {
		if err := slot.Plug(dev); err != nil {
			t.Fatal(err)
		}
	}
	return slot
}

// echo makes one request and checks the answer.
func echo(t testing.TB, d *virtiotest.Driver) {
	t.Helper()
	in := d.In(8)
	if n := d.Do(0, d.Out([]byte("question")), in); n != 8 || string(d.Bytes(in)) != "question" {
		t.Errorf("echo of %d bytes: %q", n, d.Bytes(in))
	}
}
