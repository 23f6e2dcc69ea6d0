package vsock

import (
	"encoding/binary"
	"fmt"
	"testing"

	"clone/internal/guestmem"
	"clone/internal/virtio"
	"clone/internal/virtio/mmio"
	"clone/internal/virtio/virtiotest"
)

const (
	guestCID  = 42
	rxBufSize = 4096 // as Linux
	txBufSize = headerSize + 64<<10
)

// machine is a device in a slot, and its rings. The suite's Driver waits for one queue at a time; a guest with sockets
// handles interrupts of all queues whenever they come, so it has rings of its own.
type machine struct {
	t     testing.TB
	mem   *guestmem.Memory
	dev   *Device
	slot  *mmio.Slot
	rings [3]*ring
	irq   chan struct{} // capacity 1
}

func newMachine(t testing.TB, cfg Config) *machine {
	t.Helper()
	mem, err := guestmem.NewAnonymous(32 << 20)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, mem: mem, dev: New(cfg), irq: make(chan struct{}, 1)}
	m.slot = mmio.New(mem, m.interrupt)
	if err := m.slot.Plug(m.dev); err != nil {
		t.Fatal(err)
	}
	at := uint64(1 << 20)
	for i, size := range []int{rxBufSize, txBufSize, eventSize} {
		m.rings[i] = &ring{m: m, index: i, at: at, bufSize: size}
		at += 1<<20 + queueSize*uint64(size)
	}
	t.Cleanup(func() {
		m.slot.Close()
		m.dev.Close()
		m.mem.Close()
	})
	return m
}

func (m *machine) interrupt() {
	select {
	case m.irq <- struct{}{}:
	default:
	}
}

func (m *machine) write(reg uint64, v uint64) {
	m.slot.Write(reg, binary.LittleEndian.AppendUint32(nil, uint32(v)))
}

func (m *machine) status() uint32 {
	var b [4]byte
	m.slot.Read(virtiotest.RegStatus, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// negotiate takes a device in reset as far as DRIVER_OK is next, with empty rings.
func (m *machine) negotiate(features uint64) {
	m.t.Helper()
	m.write(virtiotest.RegStatus, 0)
	m.write(virtiotest.RegStatus, virtiotest.StatusAcknowledge|virtiotest.StatusDriver)
	features |= featureStream | virtio.FeatureVersion1
	m.write(virtiotest.RegDriverFeaturesSel, 0)
	m.write(virtiotest.RegDriverFeatures, features)
	m.write(virtiotest.RegDriverFeaturesSel, 1)
	m.write(virtiotest.RegDriverFeatures, features>>32)
	m.write(virtiotest.RegStatus, virtiotest.StatusAcknowledge|virtiotest.StatusDriver|virtiotest.StatusFeaturesOK)
	for i, r := range m.rings {
		r.reset(features&virtio.FeatureEventIdx != 0)
		m.write(virtiotest.RegQueueSel, uint64(i))
		m.write(virtiotest.RegQueueNum, queueSize)
		for reg, gpa := range map[uint64]uint64{
			virtiotest.RegQueueDesc: r.desc(), virtiotest.RegQueueDriver: r.avail(), virtiotest.RegQueueDevice: r.used(),
		} {
			m.write(reg, gpa)
			m.write(reg+4, gpa>>32)
		}
		m.write(virtiotest.RegQueueReady, 1)
	}
}

// driverOK starts the device.
func (m *machine) driverOK() {
	m.t.Helper()
	m.write(virtiotest.RegStatus, uint64(m.status()|virtiotest.StatusDriverOK))
	if got := m.status(); got&(virtiotest.StatusDriverOK|virtiotest.StatusNeedsReset) != virtiotest.StatusDriverOK {
		m.t.Fatalf("status %#x: %v", got, m.slot.Failure())
	}
}

func (m *machine) resume() {
	m.t.Helper()
	if err := m.slot.Resume(); err != nil {
		m.t.Fatal(err)
	}
}

// ring is the driver's side of one queue. Descriptor i is buffer i for ever.
type ring struct {
	m        *machine
	index    int
	at       uint64 // GPA of everything
	bufSize  int
	eventIdx bool

	added    uint16 // available index
	kicked   uint16 // added when the device was last told
	lastUsed uint16
	free     []uint16
}

func (r *ring) desc() uint64  { return r.at }
func (r *ring) avail() uint64 { return r.at + 0x1000 }
func (r *ring) used() uint64  { return r.at + 0x2000 }

func (r *ring) reset(eventIdx bool) {
	r.added, r.kicked, r.lastUsed, r.free, r.eventIdx = 0, 0, 0, nil, eventIdx
	rings, _ := r.m.mem.Bytes(r.at, 0x3000)
	clear(rings)
	for i := range uint16(queueSize) {
		r.free = append(r.free, i)
	}
}

func (r *ring) word(gpa uint64) guestmem.Word16 {
	w, err := r.m.mem.Word16(gpa)
	if err != nil {
		panic(err)
	}
	return w
}

func (r *ring) buf(id uint16, n int) []byte {
	b, err := r.m.mem.Bytes(r.at+0x10000+uint64(id)*uint64(r.bufSize), uint64(n))
	if err != nil {
		panic(err)
	}
	return b
}

// post makes a free buffer of n bytes available, holding p.
func (r *ring) post(n int, p ...[]byte) {
	id := r.free[0]
	r.free = r.free[1:]
	buf := r.buf(id, n)
	for _, part := range p {
		buf = buf[copy(buf, part):]
	}
	d := binary.LittleEndian.AppendUint64(nil, r.at+0x10000+uint64(id)*uint64(r.bufSize))
	d = binary.LittleEndian.AppendUint32(d, uint32(n))
	var flags uint16
	if r.index != queueTx {
		flags = virtiotest.DescWrite
	}
	d = binary.LittleEndian.AppendUint32(d, uint32(flags))
	r.m.mem.WriteAt(d, r.desc()+16*uint64(id))
	r.m.mem.WriteAt(binary.LittleEndian.AppendUint16(nil, id), r.avail()+4+2*uint64(r.added%queueSize))
	r.added++
	r.word(r.avail() + 2).Store(r.added)
}

// kick notifies the device if it wishes so for what was posted since the last time.
func (r *ring) kick() {
	guestmem.Fence()
	wanted := r.word(r.used()).Load() == 0
	if r.eventIdx {
		event := r.word(r.used() + 4 + 8*queueSize).Load()
		wanted = r.added-event-1 < r.added-r.kicked
	}
	r.kicked = r.added
	if wanted {
		r.m.write(virtiotest.RegQueueNotify, uint64(r.index))
	}
}

// take returns the next used buffer: its content up to the written length. The buffer is free again.
func (r *ring) take() (b []byte, ok bool) {
	if r.word(r.used()+2).Load() == r.lastUsed {
		r.word(r.avail() + 4 + 2*queueSize).Store(r.lastUsed) // used_event: interrupt at the next
		guestmem.Fence()
		if r.word(r.used()+2).Load() == r.lastUsed {
			return nil, false
		}
	}
	var e [8]byte
	r.m.mem.ReadAt(e[:], r.used()+4+8*uint64(r.lastUsed%queueSize))
	r.lastUsed++
	id, n := binary.LittleEndian.Uint32(e[0:]), binary.LittleEndian.Uint32(e[4:])
	if id >= queueSize || int(n) > r.bufSize {
		panic(fmt.Sprintf("used ring: id %d, %d bytes", id, n))
	}
	r.free = append(r.free, uint16(id))
	return r.buf(uint16(id), int(n)), true
}
