package vsock

import (
	"math/bits"

	"golang.org/x/sys/unix"

	"clone/internal/virtio"
)

const (
	maxPayload = 64 << 10 // bytes in one packet to the guest
	maxBurst   = 32       // packets filled by one read of a host socket

	maxSegments = 1024 // pieces of guest memory in one system call (IOV_MAX)
)

// progress is what came of an attempt to move data to the guest.
type progress int

const (
	moved   progress = iota // something; there may be more
	drained                 // the host socket is empty
	blocked                 // not possible before the conn's wake
	ended                   // no more will come this way
)

// refuse owes an RST for a packet of no connection. Called with the lock held, like all that follows.
func (d *Device) refuse(h header) {
	if h.op == opReset || len(d.resets) == maxResets {
		return
	}
	d.resets = append(d.resets, resetFor(h))
	d.flush()
}

// flush sends the guest the control packets it is owed, as far as there are buffers.
func (d *Device) flush() {
	if d.session == nil {
		return
	}
	defer d.rx.Notify()
	for len(d.resets) > 0 {
		chain := d.popRx()
		if chain == nil {
			return
		}
		d.push(chain, d.resets[0], 0)
		d.resets = d.resets[1:]
	}
	for len(d.pending) > 0 {
		c := d.pending[0]
		for c.owed != 0 {
			chain := d.popRx()
			if chain == nil {
				return
			}
			bit := c.owed & -c.owed
			c.owed &^= bit
			d.push(chain, d.header(c, operations[bits.TrailingZeros8(uint8(bit))]), 0)
		}
		d.pending = d.pending[1:]
		c.queued = false
		if c.state == closed {
			d.remove(c)
		}
	}
}

// header is that of the next packet to the guest. It carries our credit, which the guest then knows.
func (d *Device) header(c *conn, op uint16) header {
	c.told = c.fwdCnt
	h := header{
		srcCID: HostCID, dstCID: d.cid.Load(), srcPort: c.host, dstPort: c.guest,
		kind: typeStream, op: op, bufAlloc: bufAlloc, fwdCnt: c.fwdCnt,
	}
	if op == opShutdown {
		h.flags = c.hostShut
	}
	return h
}

// push completes an rx buffer whose payload, if any, is in place.
func (d *Device) push(chain *virtio.Chain, h header, payload int) {
	h.length = uint32(payload)
	b := h.encode()
	chain.Writable.CopyFrom(b[:], 0)
	d.rx.Push(chain, uint32(headerSize+payload))
}

// popRx returns the next rx buffer with room for a packet, nil when there is none; the driver then notifies of the next.
// Buffers too small for a header go back empty.
func (d *Device) popRx() *virtio.Chain {
	if d.failed {
		return nil
	}
	for range queueSize {
		chain, err := d.rx.Pop()
		switch {
		case err != nil:
			d.fail(err)
			return nil
		case chain == nil:
			if !d.rx.EnableKicks() {
				d.rxEmpty = true
				return nil
			}
		case chain.Writable.Len() >= headerSize:
			return chain
		default:
			d.rx.Push(chain, 0)
		}
	}
	d.rxEmpty = true
	return nil
}

// refilled is the driver's notification that rx buffers are available.
func (d *Device) refilled() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed {
		return
	}
	d.rx.DisableKicks()
	d.rxEmpty = false
	if d.started {
		d.started = false
		for _, c := range d.conns {
			d.enqueue(c)
			c.signal()
		}
	}
	d.flush()
	d.wakeReader()
}

// wakeReader passes the rx queue on to the next reader that waits for it. Each woken reader calls it again when it has
// had its turn, so none is forgotten.
func (d *Device) wakeReader() {
	for !d.rxEmpty && len(d.rxWait) > 0 {
		c := d.rxWait[0]
		d.rxWait = d.rxWait[1:]
		if c.waiting == waitRx {
			c.signal()
			return
		}
	}
}

// pump moves one burst of data from a host socket to the guest: it is read straight into rx buffers. The lock is taken
// here. Nothing in it waits: fd is non-blocking.
func (d *Device) pump(c *conn, fd uintptr) progress {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.wakeReader()
	c.waiting = waitNone
	if c.state != established || c.guestShut&shutReceive != 0 {
		return ended
	}
	if d.session == nil || d.failed {
		c.waiting = waitStart
		return blocked
	}
	credit := int(c.credit())
	if credit == 0 {
		c.waiting = waitCredit
		if !c.asked {
			c.asked = true
			d.owe(c, owedCreditRequest)
		}
		return blocked
	}
	d.flush() // what is owed goes first, the RESPONSE above all
	if c.owed != 0 {
		return d.awaitRx(c)
	}
	b := d.collect(c.burst, credit)
	if b.room == 0 {
		return d.awaitRx(c)
	}
	n, err := readv(fd, b.iov)
	switch {
	case err == unix.EAGAIN:
		d.unpop(len(b.chains))
		c.burst = 1
		return drained
	case err != nil:
		d.unpop(len(b.chains))
		d.reset(c, err)
		return ended
	case n == 0:
		d.unpop(len(b.chains))
		d.hostEOF(c, fd)
		return ended
	}
	d.deliver(c, b, n)
	return moved
}

// awaitRx puts a reader in line for rx buffers.
func (d *Device) awaitRx(c *conn) progress {
	c.waiting = waitRx
	d.rxWait = append(d.rxWait, c)
	return blocked
}

// burst is a run of rx buffers about to be filled. The device has one, to save allocations.
type burst struct {
	chains []*virtio.Chain
	rooms  []int // bytes of payload for each
	room   int   // their sum
	iov    [][]byte
}

// collect takes up to count rx buffers with room for up to credit bytes of payload.
func (d *Device) collect(count, credit int) *burst {
	b := &d.burst
	b.chains, b.rooms, b.room, b.iov = b.chains[:0], b.rooms[:0], 0, b.iov[:0]
	for len(b.chains) < count && b.room < credit {
		var chain *virtio.Chain
		if len(b.chains) == 0 {
			chain = d.popRx()
		} else {
			chain, _ = d.rx.Pop() // an error comes again when it is the first
		}
		if chain == nil {
			return b
		}
		iov := chain.Writable.Slice(headerSize, min(maxPayload, credit-b.room))
		iov = iov[:min(len(iov), maxSegments/maxBurst)]
		room := iov.Len()
		if room == 0 {
			// Buffers are returned in the order taken, so this one can go back empty only as the first.
			if len(b.chains) == 0 {
				d.rx.Push(chain, 0)
			} else {
				d.unpop(1)
			}
			return b
		}
		b.chains = append(b.chains, chain)
		b.rooms = append(b.rooms, room)
		b.room += room
		b.iov = append(b.iov, iov...)
	}
	return b
}

// unpop makes the ring forget that its last n chains were popped; nothing was pushed since.
func (d *Device) unpop(n int) { d.rx.NextAvail -= uint16(n) }

// deliver sends the n bytes that were read into a burst.
func (d *Device) deliver(c *conn, b *burst, n int) {
	used := 0
	for left := n; left > 0; used++ {
		part := min(left, b.rooms[used])
		d.push(b.chains[used], d.header(c, opData), part)
		left -= part
	}
	d.unpop(len(b.chains) - used)
	d.rx.Notify()
	c.txCnt += uint32(n)
	if n == b.room {
		c.burst = min(2*c.burst, maxBurst)
	} else {
		c.burst = max(used, 1)
	}
}

// hostEOF tells the guest that the host sends no more, or is gone altogether.
func (d *Device) hostEOF(c *conn, fd uintptr) {
	c.hostShut |= shutSend
	if hungUp(fd) {
		c.hostShut |= shutReceive
	}
	d.owe(c, owedShutdown)
}
