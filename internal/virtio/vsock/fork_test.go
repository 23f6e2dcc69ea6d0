package vsock

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"clone/internal/virtio"
	"clone/internal/virtio/mmio"
)

// fork freezes a guest and returns a copy of its machine with the state loaded, not yet resumed, on a device of its own.
// The copy's guest has the sockets of the source, as a copy of its memory would.
func (g *guest) fork() *guest {
	g.t.Helper()
	g.m.slot.Pause()
	state := must(g.m.slot.Save())
	text := must(json.Marshal(state))

	m := newMachine(g.t, Config{CID: 99})
	var loaded mmio.State
	if err := json.Unmarshal(text, &loaded); err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	copy(m.mem.Regions()[0].Host, g.m.mem.Regions()[0].Host)
	if err := m.slot.Load(loaded); err != nil {
		g.t.Fatal(err)
	}
	f := newGuest(g.t, m)
	f.cid, f.port, f.out = g.cid, g.port, slices.Clone(g.out)
	for port := range g.listen {
		f.listen[port] = make(chan *sock, maxConnections)
	}
	for k, s := range g.socks {
		c := *s
		c.g, c.in = f, slices.Clone(s.in)
		f.socks[k] = &c
	}
	for i, r := range g.m.rings {
		c := *r
		c.m, c.free = m, slices.Clone(r.free)
		m.rings[i] = &c
	}
	return f
}

func TestForkGetsIdentity(t *testing.T) {
	base := filepath.Join(t.TempDir(), "v.sock")
	g := boot(t, Config{DialHost: UnixDialer(base)})
	c, s := pair(t, g)
	io.WriteString(c, "for the source only")

	f := g.fork()
	f.m.dev.SetIdentity(1000)
	// What the VMM asks for before the guest has handled the reset must not die with the old connections.
	dialed := make(chan error, 1)
	go func() {
		fc, err := f.m.dev.Dial(t.Context(), 77)
		if err == nil {
			_, err = io.WriteString(fc, "hello fork")
			fc.Close()
		}
		dialed <- err
	}()
	f.m.resume()
	f.run()
	f.until("TRANSPORT_RESET", func() bool { return f.resets == 1 && f.cid == 1000 })
	f.mu.Lock()
	if old := f.socks[s.key]; old == nil || !old.reset {
		t.Error("the source's connection lives on in the fork")
	}
	accepted := f.listen[77]
	f.mu.Unlock()
	if b, err := io.ReadAll(<-accepted); string(b) != "hello fork" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := <-dialed; err != nil {
		t.Error(err)
	}

	// The source goes on as if nothing had been.
	g.m.resume()
	got := make([]byte, 19)
	if _, err := io.ReadFull(s, got); err != nil || string(got) != "for the source only" {
		t.Errorf("%q, %v", got, err)
	}
	exchange(t, c, s, 1<<20)
	if g.resets != 0 || g.cid != guestCID {
		t.Errorf("source: %d resets, CID %d", g.resets, g.cid)
	}
}

// Between the event and its return the guest may still drop any connection: it is asked for none.
func TestRequestWaitsForReset(t *testing.T) {
	g := boot(t, Config{})
	g.Listen(5)
	f := g.fork()
	f.m.dev.SetIdentity(1000)
	f.m.resume()
	for r := f.m.rings[queueEvent]; r.word(r.used()+2).Load() == r.lastUsed; {
		<-f.m.irq // until the event is in the ring; the guest does not look at it yet
	}
	ours, theirs, err := streamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	c := f.m.dev.request(ours, 5, false)
	f.m.dev.mu.Lock()
	if !f.m.dev.event.sent || !c.untold() {
		t.Errorf("reset sent: %v, request held: %v", f.m.dev.event.sent, c.untold())
	}
	f.m.dev.mu.Unlock()
	f.m.interrupt()
	f.run()
	if err := f.m.dev.await(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// A fork of a fork, taken before the first fork's guest has seen its reset, still gets exactly its own.
func TestForkOfFork(t *testing.T) {
	g := boot(t, Config{})
	g.Listen(5)
	f := g.fork()
	f.m.dev.SetIdentity(1000)
	f.m.resume() // interrupts are not handled
	if err := f.m.slot.Failure(); err != nil {
		t.Fatal(err)
	}
	ff := f.fork()
	ff.m.dev.SetIdentity(1001)
	ff.m.resume()
	ff.run()
	ff.until("its reset", func() bool { return ff.cid == 1001 })
	fc, err := ff.m.dev.Dial(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	fc.Close()
	f.m.resume()
	f.run()
	f.until("its reset", func() bool { return f.cid == 1000 })
	fc, err = f.m.dev.Dial(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	fc.Close()
}

// The reset is held until the guest has an event buffer.
func TestResetWaitsForEventBuffer(t *testing.T) {
	g := newGuest(t, newMachine(t, Config{CID: guestCID}))
	g.m.negotiate(virtio.RingFeatures)
	g.m.driverOK()
	f := g.fork()
	f.m.dev.SetIdentity(7)
	f.m.resume()
	f.run()
	f.mu.Lock()
	f.m.rings[queueEvent].post(eventSize - 1) // too small: comes back empty
	f.m.rings[queueEvent].post(eventSize)
	f.m.rings[queueEvent].kick()
	f.mu.Unlock()
	f.until("the reset", func() bool { return f.resets == 1 && f.cid == 7 })
}

// A driver that starts anew knows no connection, and needs no reset event.
func TestDriverReset(t *testing.T) {
	g := boot(t, Config{})
	c, _ := pair(t, g)
	g.mu.Lock()
	clear(g.socks)
	g.out = nil
	g.m.dev.event.wanted = true
	g.probe(0)
	g.mu.Unlock()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v from a connection of the old driver", n, err)
	}
	c, s := pair(t, g)
	exchange(t, c, s, 1<<20)
	if g.resets != 0 {
		t.Error("a new driver got a TRANSPORT_RESET")
	}
	c.Close()
	s.Close()
	awaitIdle(t, g.m.dev)
}

func TestClose(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	path := serve(t, g.m.dev)
	idle := must(net.Dial("unix", path)) // never sends its CONNECT line
	defer idle.Close()
	io.Copy(onlyWriter{s}, random(200<<10, 1)) // a backlog
	g.m.slot.Pause()
	g.m.dev.Close()
	if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	if _, err := g.m.dev.Dial(t.Context(), 1); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial of a closed device: %v", err)
	}
	if late, err := net.Dial("unix", path); err == nil {
		if n, err := late.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("read %d, %v from a closed device", n, err)
		}
		late.Close()
	}
}

func TestConfigSpace(t *testing.T) {
	d := New(Config{CID: 0x0102030405})
	var p [12]byte
	d.ReadConfig(0, p[:])
	if got := binary.LittleEndian.Uint64(p[:]); got != 0x0102030405 {
		t.Errorf("guest_cid %#x", got)
	}
	p[0], p[1] = 9, 9
	d.ReadConfig(7, p[:2])
	if p[0] != 0 || p[1] != 0 {
		t.Errorf("bytes 7 and 8: %v", p[:2])
	}
	d.ReadConfig(1<<32-1, p[:])
	d.WriteConfig(0, []byte{1, 2, 3})
	d.ReadConfig(0, p[:8])
	if p[0] != 5 {
		t.Error("guest_cid was written")
	}
}

func TestLoadChecks(t *testing.T) {
	for _, bad := range []string{"", "{", "[]", `{"cid":2}`, `{"cid":-1}`, `{"cid":4294967295}`, `{"cid":3,"x":1}`,
		`{"cid":3}`, `null`,
		`{"cid":3,"host_port":1073741823}`, `{"cid":3,"host_port":4294967296}`, `{"cid":3,"host_port":1073741824}{}`} {
		if err := New(Config{CID: 5}).Load([]byte(bad)); err == nil {
			t.Errorf("state %q was accepted", bad)
		}
	}
	d := New(Config{CID: 5})
	if err := d.Load(must(New(Config{CID: 77}).Save())); err != nil || d.cid.Load() != 77 {
		t.Errorf("CID %d, %v", d.cid.Load(), err)
	}
}
