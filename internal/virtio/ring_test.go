package virtio

import (
	"encoding/binary"
	"testing"

	"clone/internal/eventfd"
	"clone/internal/guestmem"
)

// Where a testRing lays out its parts (GPAs). Buffers begin at buffersAt.
const (
	descAt    = 0x1000
	availAt   = 0x8000
	usedAt    = 0xa000
	tableAt   = 0x10000
	buffersAt = 0x40000
	testRAM   = 1 << 20
)

// testRing is a queue and the driver's hands on its memory.
type testRing struct {
	t          *testing.T
	mem        *guestmem.Memory
	q          *Queue
	size       uint16
	availIdx   uint16
	interrupts int
}

func newMemory(t testing.TB, size uint64) *guestmem.Memory {
	t.Helper()
	mem, err := guestmem.NewAnonymous(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	return mem
}

func newKick(t testing.TB) *eventfd.Event {
	t.Helper()
	kick, err := eventfd.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kick.Close() })
	return kick
}

// newRing makes a queue whose indexes stand at start.
func newRing(t *testing.T, size uint16, features uint64, start uint16) *testRing {
	t.Helper()
	r := &testRing{t: t, mem: newMemory(t, testRAM), size: size, availIdx: start}
	r.word(availAt + 2).Store(start)
	r.word(usedAt + 2).Store(start)
	q, err := NewQueue(QueueState{Size: size, Ready: true, Desc: descAt, Avail: availAt, Used: usedAt,
		NextAvail: start, NextUsed: start},
		QueueWiring{Memory: r.mem, Features: features, Kick: newKick(t), Interrupt: func() { r.interrupts++ }})
	if err != nil {
		t.Fatal(err)
	}
	r.q = q
	return r
}

func (r *testRing) word(gpa uint64) guestmem.Word16 {
	r.t.Helper()
	w, err := r.mem.Word16(gpa)
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (r *testRing) write(gpa uint64, p []byte) {
	r.t.Helper()
	if err := r.mem.WriteAt(p, gpa); err != nil {
		r.t.Fatal(err)
	}
}

func encode(ds ...descriptor) []byte {
	var p []byte
	for _, d := range ds {
		p = binary.LittleEndian.AppendUint64(p, d.addr)
		p = binary.LittleEndian.AppendUint32(p, d.len)
		p = binary.LittleEndian.AppendUint16(p, d.flags)
		p = binary.LittleEndian.AppendUint16(p, d.next)
	}
	return p
}

// descs writes the descriptor table from entry 0 on.
func (r *testRing) descs(ds ...descriptor) { r.write(descAt, encode(ds...)) }

// offer makes chains available.
func (r *testRing) offer(heads ...uint16) {
	for _, head := range heads {
		r.write(availAt+4+2*uint64(r.availIdx%r.size), binary.LittleEndian.AppendUint16(nil, head))
		r.availIdx++
	}
	r.word(availAt + 2).Store(r.availIdx)
}

func (r *testRing) setUsedEvent(v uint16)  { r.word(availAt + 4 + 2*uint64(r.size)).Store(v) }
func (r *testRing) availEvent() uint16     { return r.word(usedAt + 4 + 8*uint64(r.size)).Load() }
func (r *testRing) setAvailFlags(v uint16) { r.word(availAt).Store(v) }
func (r *testRing) usedFlags() uint16      { return r.word(usedAt).Load() }

// used is the used entry at index i and the used index.
func (r *testRing) used(i uint16) (id, length uint32, idx uint16) {
	r.t.Helper()
	b, err := r.mem.Bytes(usedAt+4+8*uint64(i%r.size), 8)
	if err != nil {
		r.t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), r.word(usedAt + 2).Load()
}

func (r *testRing) mustPop() *Chain {
	r.t.Helper()
	c, err := r.q.Pop()
	if err != nil || c == nil {
		r.t.Fatalf("pop: %v, %v", c, err)
	}
	return c
}
