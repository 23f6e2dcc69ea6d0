package vsock

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Why a connect failed; Dial wraps them.
var (
	ErrRefused = errors.New("connection refused by the guest")
	ErrLimit   = errors.New("too many connections")
)

// key names a connection by its two ports.
type key struct{ host, guest uint32 }

// state is where a connection stands; see the drawing in doc.go.
type state int

const (
	dialing     state = iota // the guest asked, the host socket is being connected
	requested                // the host asked, the guest has not answered
	established              // data flows
	closed                   // only the RST it may owe the guest is left
)

// waiting is what the goroutine that reads a host socket waits for.
type waiting int

const (
	waitNone   waiting = iota
	waitStart          // the device to be started
	waitCredit         // room in the guest's socket
	waitRx             // a buffer in the rx queue
)

// owed is the set of control packets to be sent to the guest, in the order they are sent in.
type owed uint8

const (
	owedRequest owed = 1 << iota
	owedResponse
	owedCreditUpdate
	owedCreditRequest
	owedShutdown
	owedReset
)

// operations has the operation of each bit of owed.
var operations = [...]uint16{opRequest, opResponse, opCreditUpdate, opCreditRequest, opShutdown, opReset}

// conn is one connection. Everything that changes is guarded by the device's lock.
type conn struct {
	key
	state  state
	stream *stream            // the host socket; nil while dialing
	cancel context.CancelFunc // ends the dialing
	greet  bool               // the host gets an "OK" line once the guest accepted

	ready   chan struct{} // closed when established or failed
	settled bool          // ready is closed
	err     error         // why it failed; constant once settled
	gone    chan struct{} // closed when out of the table
	wake    chan struct{} // capacity 1: what the reader waits for may have come
	waiting waiting

	// Guest → host. Counters are modulo 2³² (virtio 1.2 §5.10.6.3).
	rxCnt   uint32         // bytes taken from the guest
	fwdCnt  uint32         // bytes the host socket took, or nobody wants
	told    uint32         // fwdCnt as the guest knows it
	backlog [][]byte       // bytes taken and not forwarded, rxCnt-fwdCnt at most
	writing bool           // a goroutine drains the backlog
	deaf    bool           // the host socket takes no more
	writers sync.WaitGroup // that goroutine

	// Host → guest.
	txCnt        uint32 // bytes sent to the guest
	peerBufAlloc uint32 // from the guest's last packet
	peerFwdCnt   uint32
	asked        bool // a CREDIT_REQUEST is not yet answered with credit
	burst        int  // rx buffers to read into at once

	guestShut uint32 // directions the guest shut down
	hostShut  uint32 // directions the host shut down
	owed      owed
	queued    bool // in Device.pending
}

func newConn(k key, s state) *conn {
	return &conn{
		key: k, state: s, burst: 1,
		ready: make(chan struct{}), gone: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// credit is how many bytes the guest has room for.
func (c *conn) credit() uint32 {
	used := c.txCnt - c.peerFwdCnt
	if used > c.peerBufAlloc {
		return 0
	}
	return c.peerBufAlloc - used
}

// untold is true of a connection that no driver knows of yet.
func (c *conn) untold() bool { return c.state == requested && c.owed&owedRequest != 0 }

func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// settle ends the wait for the connection to be established.
func (c *conn) settle(err error) {
	if !c.settled {
		c.settled, c.err = true, err
		close(c.ready)
	}
}

// abort ends everything on the host's side and forgets what was not forwarded.
func (c *conn) abort(err error) {
	c.state, c.owed, c.backlog = closed, 0, nil
	c.settle(err)
	if c.cancel != nil {
		c.cancel()
	}
	if c.stream != nil {
		c.stream.shutdown(unix.SHUT_RDWR)
	}
	c.signal()
}

// reset aborts a connection and owes the guest the RST. Called with the lock held, like all that follows.
func (d *Device) reset(c *conn, err error) {
	if c.state == closed {
		return
	}
	untold := c.untold()
	c.abort(err)
	if untold {
		d.remove(c)
		return
	}
	d.owe(c, owedReset)
}

// drop aborts a connection of which the guest needs no word.
func (d *Device) drop(c *conn, err error) {
	c.abort(err)
	d.remove(c)
}

// dropAll drops the connections that match.
func (d *Device) dropAll(match func(*conn) bool) {
	for _, c := range d.conns {
		if match(c) {
			d.drop(c, net.ErrClosed)
		}
	}
}

// remove takes a closed connection out of the table.
func (d *Device) remove(c *conn) {
	if d.conns[c.key] != c {
		return
	}
	delete(d.conns, c.key)
	if c.queued {
		d.pending = slices.DeleteFunc(d.pending, func(p *conn) bool { return p == c })
	}
	close(c.gone)
}

// owe adds control packets to what the guest will be sent and sends what there is room for.
func (d *Device) owe(c *conn, bits owed) {
	c.owed |= bits
	d.enqueue(c)
	d.flush()
}

// enqueue puts a connection that owes the guest something in line. Requests wait for the end of a transport reset.
func (d *Device) enqueue(c *conn) {
	if c.owed == 0 || c.queued || c.untold() && d.event.holding() {
		return
	}
	c.queued = true
	d.pending = append(d.pending, c)
}

// forwarded counts n bytes as taken by the host and tells the guest when that matters: when it believes half of its
// credit used, and each time an eighth came back.
func (d *Device) forwarded(c *conn, n int) {
	c.fwdCnt += uint32(n)
	if c.state == established && c.rxCnt-c.told > bufAlloc/2 && c.fwdCnt-c.told >= bufAlloc/8 {
		d.owe(c, owedCreditUpdate)
	}
}

// hostDeaf is called when the host socket takes no more: what is left is thrown away and the guest told to stop.
func (d *Device) hostDeaf(c *conn) {
	if c.deaf {
		return
	}
	c.deaf, c.backlog = true, nil
	c.fwdCnt = c.rxCnt
	if c.state == established {
		c.hostShut |= shutReceive
		d.owe(c, owedShutdown)
	}
}

// guestShutdown is the guest's SHUTDOWN: what it sent before still reaches the host.
func (d *Device) guestShutdown(c *conn, flags uint32) {
	c.guestShut |= flags & shutBoth
	if c.guestShut&shutReceive != 0 {
		c.stream.shutdown(unix.SHUT_RD)
		c.signal()
	}
	if c.guestShut&shutSend != 0 && !c.writing {
		c.stream.shutdown(unix.SHUT_WR)
	}
	if c.guestShut == shutBoth {
		// The answer does not wait for a slow host: the guest would take that for a dead one after 8 s.
		c.state, c.owed = closed, 0
		d.owe(c, owedReset)
	}
}
