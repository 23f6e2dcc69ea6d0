package virtiotest

import (
	"encoding/binary"
	"time"

	"clone/internal/guestmem"
)

// Submit makes one chain of bufs available on a queue and notifies the device if it wishes so. It returns the chain's
// head; the test fails when the ring has no room.
func (d *Driver) Submit(queue int, bufs ...Buffer) (head uint16) {
	d.t.Helper()
	return d.submit(queue, writable(bufs), bufs, false)
}

// SubmitIndirect is Submit through an indirect descriptor table, which takes one entry of the ring.
func (d *Driver) SubmitIndirect(queue int, bufs ...Buffer) (head uint16) {
	d.t.Helper()
	return d.submit(queue, writable(bufs), []Buffer{d.Table(bufs...)}, true)
}

func writable(bufs []Buffer) uint64 {
	n := uint64(0)
	for _, b := range bufs {
		if b.Write {
			n += uint64(b.Len)
		}
	}
	return n
}

func (d *Driver) submit(queue int, writable uint64, bufs []Buffer, indirect bool) uint16 {
	d.t.Helper()
	r := d.rings[queue]
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(bufs) == 0 || len(r.free) < len(bufs) {
		d.t.Fatalf("queue %d: no room for a chain of %d", queue, len(bufs))
	}
	descs := append([]uint16{}, r.free[len(r.free)-len(bufs):]...)
	r.free = r.free[:len(r.free)-len(bufs)]
	for i, b := range bufs {
		flags, next := b.flags(), uint16(0)
		if i < len(bufs)-1 {
			flags, next = flags|DescNext, descs[i+1]
		}
		if indirect {
			flags = DescIndirect
		}
		d.SetDescriptor(queue, descs[i], b, flags, next)
	}
	r.outstanding[descs[0]] = request{descs: descs, writable: writable}
	old := r.availIdx
	d.Offer(queue, descs[0], 1)
	guestmem.Fence()
	if d.wantsKick(r, old) {
		d.Notify(queue)
	}
	return descs[0]
}

// wantsKick is the driver's half of notification suppression (virtio 1.2 §2.7.10).
func (d *Driver) wantsKick(r *ring, old uint16) bool {
	if d.eventIdx() {
		event := d.word(r.used + 4 + 8*uint64(r.size)).Load()
		return r.availIdx-event-1 < r.availIdx-old
	}
	return d.word(r.used).Load()&1 == 0
}

// Poll takes the next finished chain of a queue, if there is one.
func (d *Driver) Poll(queue int) (Used, bool) {
	d.t.Helper()
	r := d.rings[queue]
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.stash) > 0 {
		u := r.stash[0]
		r.stash = r.stash[1:]
		return u, true
	}
	return d.take(r)
}

// take reads the next used entry and checks it. Called with r.mu held.
func (d *Driver) take(r *ring) (Used, bool) {
	d.t.Helper()
	idx := d.word(r.used + 2).Load()
	if idx == r.usedIdx {
		return Used{}, false
	}
	if pushed := int(idx - r.usedIdx); pushed > len(r.outstanding) {
		d.t.Fatalf("queue %d: %d chains used, %d outstanding", r.index, pushed, len(r.outstanding))
	}
	e := d.peek(r.used+4+8*uint64(r.usedIdx%r.size), 8)
	id, u := binary.LittleEndian.Uint32(e), Used{Len: binary.LittleEndian.Uint32(e[4:])}
	u.Head = uint16(id)
	req, ok := r.outstanding[u.Head]
	if !ok || id > 0xffff {
		d.t.Fatalf("queue %d: chain %d used, which is not outstanding", r.index, id)
	}
	if uint64(u.Len) > req.writable {
		d.t.Fatalf("queue %d: %d bytes written to a chain with room for %d", r.index, u.Len, req.writable)
	}
	delete(r.outstanding, u.Head)
	r.free = append(r.free, req.descs...)
	r.usedIdx++
	return u, true
}

// Wait takes the next finished chain of a queue, waiting for the device's interrupt.
func (d *Driver) Wait(queue int) Used {
	d.t.Helper()
	var used Used
	d.until(func() bool {
		d.wantInterrupt(queue)
		var ok bool
		used, ok = d.Poll(queue)
		return ok
	}, "queue %d: no chain used", queue)
	d.refuseInterrupt(queue)
	return used
}

// Do submits one chain and waits for it. Other chains that finish meanwhile are left for Wait.
func (d *Driver) Do(queue int, bufs ...Buffer) (written uint32) {
	d.t.Helper()
	return d.await(queue, d.Submit(queue, bufs...))
}

// DoIndirect is Do through an indirect descriptor table.
func (d *Driver) DoIndirect(queue int, bufs ...Buffer) (written uint32) {
	d.t.Helper()
	return d.await(queue, d.SubmitIndirect(queue, bufs...))
}

func (d *Driver) await(queue int, head uint16) uint32 {
	d.t.Helper()
	var others []Used
	for {
		u := d.Wait(queue)
		if u.Head == head {
			r := d.rings[queue]
			r.mu.Lock()
			r.stash = append(others, r.stash...)
			r.mu.Unlock()
			return u.Len
		}
		others = append(others, u)
	}
}

// Outstanding is the number of chains that the device has not used yet.
func (d *Driver) Outstanding(queue int) int {
	r := d.rings[queue]
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.outstanding)
}

// WaitNeedsReset waits until the device reads as DEVICE_NEEDS_RESET.
func (d *Driver) WaitNeedsReset() {
	d.t.Helper()
	d.until(func() bool { return d.Status()&StatusNeedsReset != 0 }, "device does not ask for a reset")
}

// WaitConfigChange waits until the configuration generation is another than before.
func (d *Driver) WaitConfigChange(before uint32) {
	d.t.Helper()
	d.until(func() bool { return d.Read(RegConfigGeneration) != before }, "no configuration change")
}

// wantInterrupt asks for an interrupt with the next used entry; the ring is looked at afterwards (virtio 1.2 §2.7.7).
func (d *Driver) wantInterrupt(queue int) {
	r := d.rings[queue]
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.eventIdx() {
		d.word(r.avail + 4 + 2*uint64(r.size)).Store(r.usedIdx)
	} else {
		d.word(r.avail).Store(0)
	}
	guestmem.Fence()
}

// refuseInterrupt is what a driver does while it looks anyway. With event indexes the old index does it.
func (d *Driver) refuseInterrupt(queue int) {
	if !d.eventIdx() {
		d.word(d.rings[queue].avail).Store(1)
	}
}

// until looks at a condition now and after every interrupt.
func (d *Driver) until(done func() bool, format string, args ...any) {
	d.t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	for {
		woken := d.line.next()
		if done() {
			return
		}
		select {
		case <-woken:
		case <-timer.C:
			d.t.Fatalf(format+" in %v (status %#x, %v)", append(args, Patience, d.Status(), d.slot.Failure())...)
		}
	}
}
