package vsock

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"clone/internal/virtio"
)

// drainTx takes the guest's packets. The tx queue is this goroutine's alone, so it needs no lock.
func (d *Device) drainTx() {
	d.mu.Lock()
	s, failed := d.session, d.failed
	d.mu.Unlock()
	if failed {
		return
	}
	err := s.Queues[queueTx].Drain(func(chain *virtio.Chain) uint32 {
		// A chain with no room for a header names nobody to answer.
		if p, ok := parsePacket(chain.Readable); ok {
			d.fromGuest(p)
		}
		return 0
	})
	if err != nil {
		d.mu.Lock()
		d.fail(err)
		d.mu.Unlock()
	}
}

// fromGuest is one packet from the guest. One that is of no connection is answered with RST, one that lies about its
// sender is not answered at all (virtio 1.2 §5.10.6.4).
func (d *Device) fromGuest(p packet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.srcCID != d.cid.Load() {
		return
	}
	if p.dstCID != HostCID || p.kind != typeStream {
		d.refuse(p.header)
		return
	}
	c := d.conns[key{host: p.dstPort, guest: p.srcPort}]
	switch {
	case c == nil && p.op == opRequest:
		d.guestRequest(p)
	case c == nil:
		d.refuse(p.header)
	case p.op == opReset:
		d.drop(c, ErrRefused)
	case c.state == closed:
		// It is owed an RST, which is the answer to everything.
	default:
		d.advance(c, p)
	}
}

// advance is one packet of a live connection.
func (d *Device) advance(c *conn, p packet) {
	c.peerBufAlloc, c.peerFwdCnt = p.bufAlloc, p.fwdCnt
	if c.credit() > 0 {
		c.asked = false
		if c.waiting == waitCredit {
			c.signal()
		}
	}
	switch {
	case p.truncated:
		d.reset(c, ErrRefused)
	case c.state == requested && p.op == opResponse:
		d.accepted(c)
	case c.state != established:
		d.reset(c, ErrRefused)
	case p.op == opData:
		d.guestData(c, p.payload, int(p.length))
	case p.op == opCreditUpdate:
	case p.op == opCreditRequest:
		d.owe(c, owedCreditUpdate)
	case p.op == opShutdown:
		d.guestShutdown(c, p.flags)
	default:
		d.reset(c, ErrRefused)
	}
}

// guestRequest is the guest's connect.
func (d *Device) guestRequest(p packet) {
	if d.cfg.DialHost == nil || !d.enter() {
		d.refuse(p.header)
		return
	}
	c := newConn(key{host: p.dstPort, guest: p.srcPort}, dialing)
	c.peerBufAlloc, c.peerFwdCnt = p.bufAlloc, p.fwdCnt
	ctx, cancel := context.WithTimeout(d.ctx, d.cfg.ConnectTimeout)
	c.cancel = cancel
	d.conns[c.key] = c
	go d.dialHost(ctx, c)
}

// accepted is the guest's consent. The "OK" goes out here, before any data can.
func (d *Device) accepted(c *conn) {
	if c.greet {
		line := okLine(c.host)
		if n, err := c.stream.send(virtio.Segments{line}); err != nil || n < len(line) {
			d.reset(c, errors.New("host socket takes no data"))
			return
		}
	}
	c.state = established
	c.settle(nil)
}

// guestData forwards the payload of one RW packet: straight from guest memory when the host socket takes it, through
// the backlog when it does not. The lock is released while the socket is written.
func (d *Device) guestData(c *conn, payload virtio.Segments, n int) {
	if c.guestShut&shutSend != 0 || uint64(c.rxCnt-c.fwdCnt)+uint64(n) > bufAlloc {
		d.reset(c, errors.New("guest sent more than it may"))
		return
	}
	c.rxCnt += uint32(n)
	if c.deaf {
		d.forwarded(c, n)
		return
	}
	sent := 0
	if !c.writing {
		// No other goroutine writes this socket: a writer is started only below.
		d.mu.Unlock()
		var err error
		sent, err = c.stream.send(payload)
		d.mu.Lock()
		if c.state != established {
			return
		}
		if err != nil {
			d.hostDeaf(c)
			return
		}
	}
	if sent < n {
		c.queue(payload, sent, n)
		if !c.writing {
			c.writing = true
			c.writers.Go(func() { d.drainBacklog(c) })
		}
	}
	if sent > 0 {
		d.forwarded(c, sent)
	}
}

// queue copies bytes [from, n) of a payload to the backlog. Small ones share a chunk, so that a backlog of single bytes
// costs no more than one of large packets.
func (c *conn) queue(payload virtio.Segments, from, n int) {
	const chunk = 16 << 10
	for from < n {
		last := len(c.backlog) - 1
		if last < 0 || len(c.backlog[last]) == cap(c.backlog[last]) {
			c.backlog = append(c.backlog, make([]byte, 0, max(chunk, n-from)))
			last++
		}
		b := c.backlog[last]
		got := payload.CopyTo(b[len(b):min(cap(b), len(b)+n-from)], from)
		c.backlog[last] = b[:len(b)+got]
		from += got
	}
}

// drainBacklog writes the backlog until it is empty; each connection has at most one.
func (d *Device) drainBacklog(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(c.backlog) > 0 {
		chunk := c.backlog[0]
		c.backlog = c.backlog[1:]
		d.mu.Unlock()
		_, err := c.stream.Write(chunk)
		d.mu.Lock()
		if err != nil {
			d.hostDeaf(c)
		} else {
			d.forwarded(c, len(chunk))
		}
	}
	c.writing = false
	if c.guestShut&shutSend != 0 {
		c.stream.shutdown(unix.SHUT_WR)
	}
}
