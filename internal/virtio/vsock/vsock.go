package vsock

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"clone/internal/virtio"

	"golang.org/x/sys/unix"
)

// Queues (virtio 1.2 §5.10.2).
const (
	queueRx    = 0 // device → driver
	queueTx    = 1 // driver → device
	queueEvent = 2
	queueSize  = 128
)

// featureStream is VIRTIO_VSOCK_F_STREAM (virtio 1.2 §5.10.3).
const featureStream = 1 << 0

// Bounds on what a guest or a client can make us hold.
const (
	maxConnections = 1024
	maxResets      = 256       // RSTs owed to packets of no connection; more are not answered
	bufAlloc       = 256 << 10 // receive buffer of each connection, bytes: the credit a guest has
	firstHostPort  = 1 << 30   // host ports of connections the host opens start here
)

// Time limits.
const (
	connectTimeout = 10 * time.Second // for the guest's or the host's answer to a connect
	closeTimeout   = 8 * time.Second  // for the guest's RST after both directions were shut down, as in Linux
	farewell       = time.Second      // for clients to read what a device that is closed has left
)

// Config is what a device is made from.
type Config struct {
	// CID is the guest's address, 3 to 2³²-2 (virtio 1.2 §5.10.4).
	CID uint64

	// DialHost connects a guest's connect to CID 2 with whoever serves port on the host; the connection must be a Unix
	// or TCP one. It should end when ctx does. Nil refuses all; [UnixDialer] is the usual one.
	DialHost func(ctx context.Context, port uint32) (net.Conn, error)

	// ConnectTimeout limits how long either side may take to answer a connect; zero means 10 s.
	ConnectTimeout time.Duration
}

// Device is a virtio socket device. Its methods are safe for concurrent use within the rules of [virtio.Device].
type Device struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // one for each slot
	cid    atomic.Uint64  // read by vCPU threads without the lock

	mu      sync.Mutex
	closed  bool
	slots   int // connections in any state, from accept until their socket is closed
	conns   map[key]*conn
	streams map[*stream]struct{} // host sockets in use; a connection may be forgotten before its client has read everything
	port    uint32               // last host port given to a connection the host opened
	pending []*conn
	resets  []header

	session *virtio.Session // nil while stopped
	started bool            // Start was called and readers are not yet told
	failed  bool            // the rings made no sense; nothing is done until reset
	rx      *virtio.Queue
	rxEmpty bool    // rx had no buffer left and the driver was asked to notify
	rxWait  []*conn // readers that found rx empty, first come first served
	burst   burst
	event   transportReset
}

var _ virtio.Device = (*Device)(nil)

// New makes a device in reset.
func New(cfg Config) *Device {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	d := &Device{cfg: cfg, conns: map[key]*conn{}, streams: map[*stream]struct{}{}, port: firstHostPort}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.cid.Store(cfg.CID)
	return d
}

// Spec implements [virtio.Device].
func (d *Device) Spec() virtio.Spec {
	return virtio.Spec{
		Type:       virtio.TypeVsock,
		Features:   featureStream,
		QueueSizes: []uint16{queueSize, queueSize, queueSize},
	}
}

// ReadConfig implements [virtio.Device]: the configuration space is the le64 guest_cid (virtio 1.2 §5.10.4).
func (d *Device) ReadConfig(offset uint32, p []byte) {
	var space [8]byte
	binary.LittleEndian.PutUint64(space[:], d.cid.Load())
	clear(p)
	if offset < uint32(len(space)) {
		copy(p, space[offset:])
	}
}

// WriteConfig implements [virtio.Device]: nothing is writable.
func (d *Device) WriteConfig(uint32, []byte) {}

// Start implements [virtio.Device]. A new driver knows no connection of the one before it: those are dropped. What the
// host asked for and no driver has been told of stays.
func (d *Device) Start(s *virtio.Session) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session, d.rx = s, s.Queues[queueRx]
	d.started, d.failed, d.rxEmpty, d.rxWait = true, false, false, nil
	if s.Resumed {
		d.event.resumed(s.Queues[queueEvent])
	} else {
		d.event, d.resets = transportReset{}, nil
		d.dropAll(func(c *conn) bool { return !c.untold() })
	}
	return nil
}

// HandleQueue implements [virtio.Device].
func (d *Device) HandleQueue(i int) {
	switch i {
	case queueTx:
		d.drainTx()
	case queueRx:
		d.refilled()
	case queueEvent:
		d.eventsReturned()
	}
}

// Stop implements [virtio.Device]. Connections stay, their data in the host's sockets.
func (d *Device) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.event.stopped(d.session.Queues[queueEvent])
	d.session, d.rx = nil, nil
}

// Close drops every connection and returns when no goroutine of the device is left. Clients get what the guest has sent, if
// they read it within the farewell. The device must be stopped; the listener of Serve is closed by its owner, before or after.
func (d *Device) Close() error {
	d.mu.Lock()
	d.closed = true
	d.dropAll(func(*conn) bool { return true })
	d.mu.Unlock()
	d.cancel()
	late := time.AfterFunc(farewell, d.hangUp)
	defer late.Stop()
	d.wg.Wait()
	return nil
}

// hangUp ends the host's side of every connection.
func (d *Device) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.streams {
		s.shutdown(unix.SHUT_RDWR)
	}
}

// fail reports a ring that makes no sense. Called with the lock held.
func (d *Device) fail(err error) {
	if !d.failed {
		d.failed = true
		d.session.Fail(err)
	}
}

// enter takes a slot for one connection and the goroutine that serves it.
func (d *Device) enter() bool {
	if d.closed || d.slots == maxConnections {
		return false
	}
	d.slots++
	d.wg.Add(1)
	return true
}

// leave gives the slot back.
func (d *Device) leave() {
	d.mu.Lock()
	d.slots--
	d.mu.Unlock()
	d.wg.Done()
}
