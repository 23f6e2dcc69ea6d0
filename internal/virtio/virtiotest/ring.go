package virtiotest

import (
	"encoding/binary"
	"sync"

	"clone/internal/guestmem"
	"clone/internal/virtio"
)

// Descriptor flags (virtio 1.2 §2.7.5).
const (
	DescNext     = 1
	DescWrite    = 2
	DescIndirect = 4
)

// firstFree is the GPA allocations begin at.
const firstFree = 64 << 10

// Buffer is one buffer in guest RAM and one descriptor of a chain.
type Buffer struct {
	GPA   uint64
	Len   uint32
	Write bool // the device writes it; it reads it otherwise
}

// Used is an entry of the used ring: a chain the device has finished with.
type Used struct {
	Head uint16 // what Submit returned
	Len  uint32 // bytes the device says it wrote
}

// ring is the driver's side of one split virtqueue.
type ring struct {
	index             int
	size              uint16
	desc, avail, used uint64 // GPAs

	mu          sync.Mutex
	free        []uint16
	outstanding map[uint16]request
	availIdx    uint16
	usedIdx     uint16
	stash       []Used // taken by Do while it looked for another
}

type request struct {
	descs    []uint16
	writable uint64 // bytes
}

func (d *Driver) newRing(index int, size uint16) *ring {
	r := &ring{index: index, size: size, outstanding: map[uint16]request{}}
	n := int(size)
	r.desc = d.Alloc(16 * n)
	r.avail = d.Alloc(6 + 2*n)
	r.used = d.Alloc(6 + 8*n)
	for i := range n {
		r.free = append(r.free, uint16(n-1-i))
	}
	return r
}

// Alloc returns n zeroed bytes of RAM that nothing else uses until Reset, aligned to 16 bytes.
func (d *Driver) Alloc(n int) uint64 {
	d.t.Helper()
	room := uint64(n+15) &^ 15
	gpa := d.next.Add(room) - room
	b, err := d.mem.Bytes(gpa, uint64(n))
	if err != nil {
		d.t.Fatalf("guest RAM is used up: %v", err)
	}
	clear(b)
	return gpa
}

// Out is a buffer with p in it, for the device to read.
func (d *Driver) Out(p []byte) Buffer {
	d.t.Helper()
	b := Buffer{GPA: d.Alloc(len(p)), Len: uint32(len(p))}
	d.poke(b.GPA, p)
	return b
}

// In is a buffer of n zero bytes, for the device to write.
func (d *Driver) In(n int) Buffer {
	d.t.Helper()
	return Buffer{GPA: d.Alloc(n), Len: uint32(n), Write: true}
}

// Bytes is a copy of what the buffers hold, one after the other.
func (d *Driver) Bytes(bufs ...Buffer) []byte {
	d.t.Helper()
	var all []byte
	for _, b := range bufs {
		all = append(all, d.peek(b.GPA, int(b.Len))...)
	}
	return all
}

// Table writes an indirect descriptor table of bufs and returns the buffer that it is.
func (d *Driver) Table(bufs ...Buffer) Buffer {
	d.t.Helper()
	table := make([]byte, 0, 16*len(bufs))
	for i, b := range bufs {
		flags, next := b.flags(), uint16(0)
		if i < len(bufs)-1 {
			flags, next = flags|DescNext, uint16(i+1)
		}
		table = appendDesc(table, b, flags, next)
	}
	return d.Out(table)
}

func (b Buffer) flags() uint16 {
	if b.Write {
		return DescWrite
	}
	return 0
}

func appendDesc(p []byte, b Buffer, flags, next uint16) []byte {
	p = binary.LittleEndian.AppendUint64(p, b.GPA)
	p = binary.LittleEndian.AppendUint32(p, b.Len)
	p = binary.LittleEndian.AppendUint16(p, flags)
	return binary.LittleEndian.AppendUint16(p, next)
}

// RingSize is the number of descriptors of a queue.
func (d *Driver) RingSize(queue int) int { return int(d.rings[queue].size) }

// RingAddress is where a queue's descriptor table, available and used ring are (GPAs).
func (d *Driver) RingAddress(queue int) (desc, avail, used uint64) {
	r := d.rings[queue]
	return r.desc, r.avail, r.used
}

// SetDescriptor writes entry i of a queue's descriptor table as it is given, sensible or not.
func (d *Driver) SetDescriptor(queue int, i uint16, b Buffer, flags, next uint16) {
	d.t.Helper()
	d.poke(d.rings[queue].desc+16*uint64(i), appendDesc(nil, b, flags, next))
}

// Offer puts head into the available ring and moves its index on by advance, without a check or a notification.
func (d *Driver) Offer(queue int, head, advance uint16) {
	d.t.Helper()
	r := d.rings[queue]
	d.poke(r.avail+4+2*uint64(r.availIdx%r.size), binary.LittleEndian.AppendUint16(nil, head))
	r.availIdx += advance
	d.word(r.avail + 2).Store(r.availIdx)
}

// Notify writes QueueNotify, whether or not the device wishes it.
func (d *Driver) Notify(queue int) { d.Write(RegQueueNotify, uint32(queue)) }

func (d *Driver) poke(gpa uint64, p []byte) {
	d.t.Helper()
	if err := d.mem.WriteAt(p, gpa); err != nil {
		d.t.Fatal(err)
	}
}

func (d *Driver) peek(gpa uint64, n int) []byte {
	d.t.Helper()
	p := make([]byte, n)
	if err := d.mem.ReadAt(p, gpa); err != nil {
		d.t.Fatal(err)
	}
	return p
}

func (d *Driver) word(gpa uint64) guestmem.Word16 {
	d.t.Helper()
	w, err := d.mem.Word16(gpa)
	if err != nil {
		d.t.Fatal(err)
	}
	return w
}

func (d *Driver) eventIdx() bool { return d.features&virtio.FeatureEventIdx != 0 }
