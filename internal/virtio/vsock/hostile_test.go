package vsock

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"clone/internal/virtio"
	"clone/internal/virtio/virtiotest"
)

// Packets of no connection, or with wrong addresses or types: each is answered with RST or not at all.
func TestStrayPackets(t *testing.T) {
	base := filepath.Join(t.TempDir(), "v.sock")
	g := boot(t, Config{DialHost: UnixDialer(base)})
	hostListen(t, base, 9)
	good := header{srcCID: guestCID, dstCID: HostCID, srcPort: 4, dstPort: 9, kind: typeStream, op: opData}
	with := func(change func(*header)) header { h := good; change(&h); return h }
	for _, c := range []struct {
		name string
		h    header
		rst  bool
	}{
		{"data", good, true},
		{"shutdown", with(func(h *header) { h.op = opShutdown }), true},
		{"response", with(func(h *header) { h.op = opResponse }), true},
		{"unknown operation", with(func(h *header) { h.op = 77 }), true},
		{"operation zero", with(func(h *header) { h.op = 0 }), true},
		{"seqpacket", with(func(h *header) { h.op, h.kind = opRequest, 2 }), true},
		{"datagram", with(func(h *header) { h.op, h.kind = opRequest, 3 }), true},
		{"another guest's CID", with(func(h *header) { h.op, h.dstCID = opRequest, 43 }), true},
		{"hypervisor's CID", with(func(h *header) { h.op, h.dstCID = opRequest, 0 }), true},
		{"wide CID", with(func(h *header) { h.op, h.dstCID = opRequest, 1<<32|HostCID }), true},
		{"length beyond the buffer", with(func(h *header) { h.length = 1 << 31 }), true},
		{"reset", with(func(h *header) { h.op = opReset }), false},
		{"false sender", with(func(h *header) { h.op, h.srcCID = opRequest, 43 }), false},
		{"host as sender", with(func(h *header) { h.op, h.srcCID = opRequest, HostCID }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.mu.Lock()
			g.rsts = nil
			g.transmit(c.h, nil)
			sentinel := with(func(h *header) { h.srcPort = 5 })
			g.transmit(sentinel, nil)
			g.mu.Unlock()
			last := func() header { return g.rsts[len(g.rsts)-1] }
			g.until("answer", func() bool { return len(g.rsts) > 0 && last().dstPort == 5 })
			g.mu.Lock()
			defer g.mu.Unlock()
			want := []header{resetFor(sentinel)}
			if c.rst {
				want = []header{resetFor(c.h), resetFor(sentinel)}
			}
			if fmt.Sprint(g.rsts) != fmt.Sprint(want) {
				t.Errorf("answers %+v, want %+v", g.rsts, want)
			}
		})
	}
	awaitIdle(t, g.m.dev)
}

// Packets that break the protocol of a live connection end it, and it alone.
func TestProtocolErrors(t *testing.T) {
	g := boot(t, Config{})
	other, otherSock := pair(t, g)
	for name, send := range map[string]func(*sock){
		"second request":    func(s *sock) { s.send(opRequest, 0, nil) },
		"second response":   func(s *sock) { s.send(opResponse, 0, nil) },
		"unknown operation": func(s *sock) { s.send(8, 0, nil) },
		"truncated data": func(s *sock) {
			h := s.header(opData)
			h.length = 100
			g.transmit(h, make([]byte, 99))
		},
		"data after shutdown": func(s *sock) {
			s.send(opShutdown, shutSend, nil)
			s.send(opData, 0, []byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, g)
			g.mu.Lock()
			send(s)
			g.mu.Unlock()
			s.awaitReset()
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("host reads %d, %v", n, err)
			}
		})
	}
	exchange(t, other, otherSock, 1<<20)
	other.Close()
	otherSock.Close()
	awaitIdle(t, g.m.dev)
}

// A guest that claims to have taken more than it was sent gets nothing, and does no harm.
func TestLyingCredit(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	g.mu.Lock()
	h := s.header(opCreditUpdate)
	h.fwdCnt = 1 << 20
	g.transmit(h, nil)
	s.bufAlloc = 0
	g.mu.Unlock()
	s.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	io.WriteString(c, "hello") // the guest model fails the test if this reaches it now
	g.mu.Lock()
	s.bufAlloc = 1<<32 - 1
	s.send(opCreditUpdate, 0, nil)
	g.mu.Unlock()
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Error(err)
	}
}

// Rx buffers of every size: what has no room for a header or a byte of data comes back empty, the rest is used.
func TestOddRxBuffers(t *testing.T) {
	g := newGuest(t, newMachine(t, Config{CID: guestCID}))
	sizes := []int{10, headerSize, headerSize + 1, 43, 200, rxBufSize, 0}
	g.rxSize = func() int {
		sizes = append(sizes[1:], sizes[0])
		return sizes[0]
	}
	g.probe(virtio.RingFeatures)
	g.run()
	c, s := pair(t, g)
	exchange(t, c, s, 1<<20)
}

// An rx ring that makes no sense stops the device, and a new driver gets it going again.
func TestBrokenRxRing(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	g.mu.Lock()
	r := g.m.rings[queueRx]
	for i := range uint64(queueSize) {
		g.m.mem.WriteAt(bytes.Repeat([]byte{0xee}, 8), r.desc()+16*i)
	}
	g.mu.Unlock()
	io.WriteString(c, "hello")
	g.until("NEEDS_RESET", func() bool { return g.m.status()&virtiotest.StatusNeedsReset != 0 })
	s.Write([]byte("into the void"))
	g.mu.Lock()
	clear(g.socks)
	g.out = nil
	g.probe(virtio.RingFeatures)
	g.mu.Unlock()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v from a connection of the broken session", n, err)
	}
	c, s = pair(t, g)
	exchange(t, c, s, 1<<20)
}

func TestConformance(t *testing.T) {
	virtiotest.Conformance(t, func() virtio.Device { return New(Config{CID: guestCID}) }, conformance)
}

var conformance = virtiotest.Options{
	Queue: queueTx,
	Lazy:  []int{queueRx, queueEvent},
	Request: func(d *virtiotest.Driver) []virtiotest.Buffer {
		b := header{srcCID: guestCID, dstCID: HostCID, srcPort: 1, dstPort: 2, kind: typeStream, op: opRequest}.encode()
		return []virtiotest.Buffer{d.Out(b[:10]), d.Out(b[10:]), d.Out([]byte("payload"))}
	},
	Check: func(t testing.TB, _ *virtiotest.Driver, _ []virtiotest.Buffer, written uint32) {
		if written != 0 {
			t.Errorf("%d bytes written to a tx chain", written)
		}
	},
}

func FuzzRings(f *testing.F) {
	virtiotest.Fuzz(f, func() virtio.Device { return New(Config{CID: guestCID}) })
}

// FuzzConnect is what a client of the public socket may send first.
func FuzzConnect(f *testing.F) {
	f.Add("CONNECT 1024\n")
	f.Add("CONNECT 4294967295\n")
	f.Add("CONNECT +1\n")
	f.Fuzz(func(t *testing.T, line string) {
		if port, err := parseConnect(line); err == nil && fmt.Sprintf("CONNECT %d\n", port) != line {
			// Leading zeros are the only other spelling.
			if !bytes.HasPrefix([]byte(line), []byte("CONNECT 0")) {
				t.Errorf("%q is port %d", line, port)
			}
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"cid":3,"host_port":1073741824}`))
	f.Fuzz(func(t *testing.T, state []byte) {
		d := New(Config{CID: guestCID})
		if err := d.Load(state); err == nil && (d.cid.Load() < minCID || d.cid.Load() > maxCID) {
			t.Errorf("CID %d loaded", d.cid.Load())
		}
	})
}

// FuzzPacket takes packets apart wherever the guest cut them.
func FuzzPacket(f *testing.F) {
	b := header{srcCID: 1, dstCID: 2, srcPort: 3, dstPort: 4, length: 5, kind: 6, op: 7, flags: 8, bufAlloc: 9, fwdCnt: 10}.encode()
	f.Add(append(b[:], "hello"...), uint8(10))
	f.Add(b[:43], uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		at := min(int(cut), len(data))
		p, ok := parsePacket(virtio.Segments{data[:at], nil, data[at:]})
		if ok != (len(data) >= headerSize) {
			t.Fatalf("%d bytes: ok %v", len(data), ok)
		}
		if !ok {
			return
		}
		if back := p.encode(); !bytes.Equal(back[:], data[:headerSize]) {
			t.Fatalf("header %+v", p.header)
		}
		room := len(data) - headerSize
		if p.truncated != (uint64(p.length) > uint64(room)) || p.payload.Len() != min(int(p.length), room) {
			t.Fatalf("length %d of %d: %d, truncated %v", p.length, room, p.payload.Len(), p.truncated)
		}
	})
}

// FuzzGuest plays any sequence of packets to a device with connections of both kinds.
func FuzzGuest(f *testing.F) {
	f.Add([]byte{1, 0, 0, 5, 0, 9, 4, 3, 0})
	f.Add([]byte{1, 0, 0, 3, 0, 0, 1, 0, 0, 2, 0, 0, 5, 0, 200, 6, 0, 0, 7, 0, 0, 4, 1, 0, 4, 2, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		base := filepath.Join(t.TempDir(), "v")
		g := boot(t, Config{DialHost: UnixDialer(base)})
		hostListen(t, base, 1)
		c, s := pair(t, g)
		g.mu.Lock()
		ports := []key{s.key, {host: 1, guest: 1}, {host: 2, guest: 1}, {host: s.host, guest: 9}}
		for len(program) >= 3 && len(g.out) < 1000 {
			k := ports[program[1]>>6]
			n := int(program[2]) * 256
			g.transmit(header{
				srcCID: guestCID, dstCID: HostCID, srcPort: k.guest, dstPort: k.host, kind: typeStream,
				op: uint16(program[0] % 9), flags: uint32(program[1] & 7), length: uint32(n),
				bufAlloc: uint32(program[1]) << 8, fwdCnt: uint32(program[2]),
			}, make([]byte, n))
			program = program[3:]
		}
		g.mu.Unlock()
		g.until("all packets to be taken", func() bool { g.pushOut(); return len(g.out) == 0 })
		c.Close()
		fresh, freshSock := pair(t, g)
		go io.Copy(freshSock, freshSock)
		io.WriteString(fresh, "x")
		if _, err := io.ReadFull(fresh, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		fresh.Close()
	})
}
