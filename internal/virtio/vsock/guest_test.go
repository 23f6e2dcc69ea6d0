package vsock

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"clone/internal/virtio"
)

// guest is a small model of a guest's vsock driver and sockets.
type guest struct {
	t testing.TB
	m *machine

	mu      sync.Mutex
	cond    sync.Cond
	cid     uint64
	socks   map[key]*sock // by host port and guest port
	listen  map[uint32]chan *sock
	port    uint32
	out     [][]byte   // packets that wait for a tx buffer
	rxOff   bool       // stop refilling the rx ring
	rxSize  func() int // of the next rx buffer
	resets  int        // TRANSPORT_RESET events
	rsts    []header
	packets int
	quit    bool
	done    sync.WaitGroup
}

// sock is one guest socket; Read, Write and Close are the user's.
type sock struct {
	g *guest
	key
	established, reset bool
	in                 []byte
	bufAlloc           uint32
	fwd, told          uint32 // bytes read by the user; as the host knows it
	tx                 uint32
	peerBuf, peerFwd   uint32
	peerShut, shut     uint32
	noCredit           bool // ignore the device's credit
}

func boot(t testing.TB, cfg Config) *guest {
	t.Helper()
	if cfg.CID == 0 {
		cfg.CID = guestCID
	}
	g := newGuest(t, newMachine(t, cfg))
	g.probe(virtio.RingFeatures)
	g.run()
	return g
}

// probe is the driver's initialization.
func (g *guest) probe(features uint64) {
	g.t.Helper()
	g.m.negotiate(features)
	for range queueSize {
		g.m.rings[queueRx].post(g.rxSize())
	}
	for range 8 {
		g.m.rings[queueEvent].post(eventSize)
	}
	g.readCID()
	g.m.driverOK()
	g.m.rings[queueRx].kick()
	g.m.rings[queueEvent].kick()
}

func newGuest(t testing.TB, m *machine) *guest {
	g := &guest{t: t, m: m, socks: map[key]*sock{}, listen: map[uint32]chan *sock{}, port: 5000}
	g.cond.L = &g.mu
	g.rxSize = func() int { return rxBufSize }
	return g
}

func (g *guest) readCID() {
	var b [8]byte
	g.m.dev.ReadConfig(0, b[:])
	g.cid = binary.LittleEndian.Uint64(b[:])
}

// run starts the interrupt handler; it ends with the test, before the machine does.
func (g *guest) run() {
	g.done.Go(func() {
		for {
			<-g.m.irq
			g.mu.Lock()
			if g.quit {
				g.mu.Unlock()
				return
			}
			g.interrupt()
			g.cond.Broadcast()
			g.mu.Unlock()
		}
	})
	g.t.Cleanup(g.halt)
}

// halt freezes the guest.
func (g *guest) halt() {
	g.mu.Lock()
	g.quit = true
	g.cond.Broadcast()
	g.mu.Unlock()
	g.m.interrupt()
	g.done.Wait()
}

func (g *guest) interrupt() {
	g.pushOut()
	events := 0
	for {
		b, ok := g.m.rings[queueEvent].take()
		if !ok {
			break
		}
		if len(b) == eventSize && binary.LittleEndian.Uint32(b) == eventTransportReset {
			g.resets++
			g.readCID()
			for _, s := range g.socks {
				s.reset = true // as in Linux, it keeps its place in the table until its user closes it
			}
		}
		g.m.rings[queueEvent].post(eventSize)
		events++
	}
	if events > 0 {
		g.m.rings[queueEvent].kick()
	}
	got := 0
	for {
		b, ok := g.m.rings[queueRx].take()
		if !ok {
			break
		}
		got++
		if len(b) >= headerSize {
			g.receive(parseHeader((*[headerSize]byte)(b)), b[headerSize:])
		}
		if !g.rxOff {
			g.m.rings[queueRx].post(g.rxSize())
		}
	}
	if got > 0 && !g.rxOff {
		g.m.rings[queueRx].kick()
	}
}

// refill turns rx refilling on again.
func (g *guest) refill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rxOff = false
	for len(g.m.rings[queueRx].free) > 0 {
		g.m.rings[queueRx].post(g.rxSize())
	}
	g.m.rings[queueRx].kick()
}

func (g *guest) receive(h header, payload []byte) {
	g.packets++
	// What lay in the ring when a fork was made is read after the fork has its new CID.
	stale := g.resets > 0 && h.dstCID == guestCID
	if h.srcCID != HostCID || h.dstCID != g.cid && !stale || h.kind != typeStream || int(h.length) != len(payload) {
		if h.op != opReset {
			g.t.Errorf("packet from the device: %+v with %d bytes", h, len(payload))
		}
	}
	k := key{host: h.srcPort, guest: h.dstPort}
	s := g.socks[k]
	if h.op == opReset {
		g.rsts = append(g.rsts, h)
	}
	if s != nil && s.reset {
		return
	}
	if s == nil {
		if h.op == opRequest {
			if l := g.listen[h.dstPort]; l != nil {
				s = g.newSock(k)
				s.peerBuf, s.peerFwd, s.established = h.bufAlloc, h.fwdCnt, true
				s.send(opResponse, 0, nil)
				l <- s
				return
			}
		}
		if h.op != opReset {
			g.transmit(resetFor(h), nil)
		}
		return
	}
	s.peerBuf, s.peerFwd = h.bufAlloc, h.fwdCnt
	switch h.op {
	case opResponse:
		s.established = true
	case opReset:
		s.reset = true
		delete(g.socks, k)
	case opShutdown:
		s.peerShut |= h.flags
		if s.peerShut == shutBoth && len(s.in) == 0 {
			s.send(opReset, 0, nil)
			s.reset = true
			delete(g.socks, k)
		}
	case opData:
		if s.peerShut&shutSend != 0 {
			g.t.Error("data after shutdown")
		}
		if len(s.in)+len(payload) > int(s.bufAlloc) {
			g.t.Errorf("device overran the credit: %d+%d of %d", len(s.in), len(payload), s.bufAlloc)
		}
		s.in = append(s.in, payload...)
	case opCreditRequest:
		s.send(opCreditUpdate, 0, nil)
	case opCreditUpdate:
	default:
		g.t.Errorf("operation %d from the device", h.op)
	}
}

func (g *guest) newSock(k key) *sock {
	s := &sock{g: g, key: k, bufAlloc: 256 << 10}
	g.socks[k] = s
	return s
}

// transmit sends one packet as soon as there is a tx buffer. The lock is held.
func (g *guest) transmit(h header, payload []byte) {
	b := h.encode()
	g.out = append(g.out, append(b[:], payload...))
	g.pushOut()
}

func (g *guest) pushOut() {
	r := g.m.rings[queueTx]
	for {
		if _, ok := r.take(); !ok {
			break
		}
	}
	for len(g.out) > 0 && len(r.free) > 0 {
		r.post(len(g.out[0]), g.out[0])
		g.out = g.out[1:]
	}
	r.kick()
}

func (s *sock) header(op uint16) header {
	return header{
		srcCID: s.g.cid, dstCID: HostCID, srcPort: s.guest, dstPort: s.host, kind: typeStream, op: op,
		bufAlloc: s.bufAlloc, fwdCnt: s.fwd,
	}
}

func (s *sock) send(op uint16, flags uint32, payload []byte) {
	h := s.header(op)
	h.flags, h.length = flags, uint32(len(payload))
	s.told = s.fwd
	s.g.transmit(h, payload)
}

// Listen makes a port accept.
func (g *guest) Listen(port uint32) chan *sock {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := make(chan *sock, maxConnections)
	g.listen[port] = l
	return l
}

// Dial connects to the host.
func (g *guest) Dial(port uint32) (*sock, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.port++
	s := g.newSock(key{host: port, guest: g.port})
	s.send(opRequest, 0, nil)
	for !s.established && !s.reset && !g.quit {
		g.cond.Wait()
	}
	if s.reset || g.quit {
		return nil, syscall.ECONNRESET
	}
	return s, nil
}

func (s *sock) Read(p []byte) (int, error) {
	g := s.g
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(s.in) == 0 {
		switch {
		case s.peerShut&shutSend != 0:
			return 0, io.EOF
		case s.reset, g.quit:
			return 0, syscall.ECONNRESET
		}
		g.cond.Wait()
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	s.fwd += uint32(n)
	if !s.reset && s.bufAlloc-(s.fwd-s.told) < 64<<10+s.bufAlloc/2 {
		s.send(opCreditUpdate, 0, nil)
	}
	return n, nil
}

func (s *sock) Write(p []byte) (n int, err error) {
	g := s.g
	g.mu.Lock()
	defer g.mu.Unlock()
	for n < len(p) {
		switch {
		case s.peerShut&shutReceive != 0, s.shut&shutSend != 0:
			return n, syscall.EPIPE
		case s.reset, g.quit:
			return n, syscall.ECONNRESET
		}
		credit := int(s.peerBuf - (s.tx - s.peerFwd))
		if s.noCredit {
			credit = 1 << 20
		}
		if credit == 0 || len(g.out) > 0 {
			g.cond.Wait()
			continue
		}
		part := p[n:min(len(p), n+credit, n+64<<10)]
		s.tx += uint32(len(part))
		s.send(opData, 0, part)
		n += len(part)
	}
	return n, nil
}

// Shutdown is shutdown(2); both directions are a close.
func (s *sock) Shutdown(flags uint32) {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.shut |= flags
	if !s.reset {
		s.send(opShutdown, s.shut, nil)
	}
}

func (s *sock) CloseWrite() error { s.Shutdown(shutSend); return nil }
func (s *sock) Close() error      { s.Shutdown(shutBoth); return nil }

// awaitReset waits for the device's RST.
func (s *sock) awaitReset() {
	s.g.until("RST", func() bool { return s.reset })
}

// until waits for a condition of the guest; the test fails when it does not come.
func (g *guest) until(what string, cond func() bool) {
	g.t.Helper()
	late := errors.New("late")
	var err error
	timer := time.AfterFunc(20*time.Second, func() {
		g.mu.Lock()
		err = late
		g.cond.Broadcast()
		g.mu.Unlock()
	})
	defer timer.Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for !cond() {
		if err != nil || g.quit {
			g.t.Fatalf("waiting for %s: in vain", what)
		}
		g.cond.Wait()
	}
}
