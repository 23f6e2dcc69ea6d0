package vsock

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"clone/internal/virtio"
)

// random is n bytes that a seed determines.
func random(n int64, seed uint64) io.Reader {
	var key [32]byte
	key[0] = byte(seed)
	return io.LimitReader(rand.NewChaCha8(key), n)
}

func sum(r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, onlyReader{r})
	return fmt.Sprintf("%x of %d bytes", h.Sum(nil), n), err
}

// onlyReader and onlyWriter keep io.Copy to Read and Write.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

type halfCloser interface {
	io.ReadWriter
	CloseWrite() error
}

// exchange sends n bytes each way at once and compares what arrives.
func exchange(t testing.TB, a, b halfCloser, n int64) {
	t.Helper()
	var wg sync.WaitGroup
	for i, pair := range [][2]halfCloser{{a, b}, {b, a}} {
		wg.Go(func() {
			if m, err := io.Copy(onlyWriter{pair[0]}, random(n, uint64(i))); err != nil {
				t.Errorf("direction %d: %v after %d bytes", i, err, m)
			}
			pair[0].CloseWrite()
		})
		wg.Go(func() {
			want, _ := sum(random(n, uint64(i)))
			if got, err := sum(pair[1]); got != want || err != nil {
				t.Errorf("direction %d: got %s, want %s (%v)", i, got, want, err)
			}
		})
	}
	wg.Wait()
}

// pair is an established connection from both ends.
func pair(t testing.TB, g *guest) (*net.UnixConn, *sock) {
	t.Helper()
	accepted := g.Listen(77)
	c := dial(t, g, 77)
	return c, <-accepted
}

func TestBulkBothWays(t *testing.T) {
	for _, features := range []uint64{0, virtio.RingFeatures} {
		t.Run(fmt.Sprintf("%#x", features), func(t *testing.T) {
			g := newGuest(t, newMachine(t, Config{CID: guestCID}))
			g.probe(features)
			g.run()
			c, s := pair(t, g)
			exchange(t, c, s, 100<<20)
			c.Close()
			s.Close()
			awaitIdle(t, g.m.dev)
		})
	}
}

// Counters are modulo 2³²: a connection near the end of them goes on.
func TestCountersWrap(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	g.mu.Lock()
	g.m.dev.mu.Lock()
	for _, dc := range g.m.dev.conns {
		dc.rxCnt, dc.fwdCnt, dc.told, dc.txCnt, dc.peerFwdCnt = 1<<32-9, 1<<32-9, 1<<32-9, 1<<32-77, 1<<32-77
	}
	s.fwd, s.told, s.tx, s.peerFwd = 1<<32-77, 1<<32-77, 1<<32-9, 1<<32-9
	g.m.dev.mu.Unlock()
	g.mu.Unlock()
	exchange(t, c, s, 4<<20)
}

func TestSmallWrites(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	go func() {
		for b := range byte(200) {
			s.Write([]byte{b})
		}
		s.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || len(got) != 200 || got[199] != 199 {
		t.Errorf("%v, %v", got, err)
	}
}

// A host reader that does not read holds up its own connection only, and gets everything in the end.
func TestSlowHostReader(t *testing.T) {
	g := boot(t, Config{})
	slow, slowSock := pair(t, g)
	const n = 4 << 20
	written := make(chan error)
	go func() {
		_, err := io.Copy(onlyWriter{slowSock}, random(n, 1))
		slowSock.CloseWrite()
		written <- err
	}()
	g.until("the credit of the slow connection to be used up", func() bool {
		return slowSock.tx-slowSock.peerFwd == slowSock.peerBuf
	})
	c, s := pair(t, g)
	exchange(t, c, s, 8<<20)
	want, _ := sum(random(n, 1))
	if got, err := sum(slow); got != want || err != nil {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A guest that does not read holds up its own connection only.
func TestSlowGuestReader(t *testing.T) {
	g := boot(t, Config{})
	slow, slowSock := pair(t, g)
	const n = 4 << 20
	go func() {
		io.Copy(onlyWriter{slow}, random(n, 1))
		slow.CloseWrite()
	}()
	g.until("the guest's buffer to be full", func() bool { return len(slowSock.in) == int(slowSock.bufAlloc) })
	c, s := pair(t, g)
	exchange(t, c, s, 8<<20)
	want, _ := sum(random(n, 1))
	if got, err := sum(slowSock); got != want || err != nil {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
}

// With no rx buffers the guest's data still flows, and what the guest is owed waits without being lost.
func TestRxQueueEmpty(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	others := make(map[*net.UnixConn]*sock)
	for range 5 {
		oc, os := pair(t, g)
		others[oc] = os
	}
	g.mu.Lock()
	g.rxOff = true
	g.mu.Unlock()
	for oc := range others {
		go func() {
			io.Copy(onlyWriter{oc}, random(1<<20, 2))
			oc.CloseWrite()
		}()
	}
	g.until("the rx ring to run dry", func() bool { return len(g.m.rings[queueRx].free) == queueSize })
	if _, err := s.Write(make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if b, err := io.ReadAll(c); len(b) != 100<<10 || err != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	g.mu.Lock()
	for range maxResets + 100 { // owed RSTs are bounded
		g.transmit(header{srcCID: guestCID, dstCID: HostCID, srcPort: 1, dstPort: 2, kind: typeStream, op: opData}, nil)
	}
	g.mu.Unlock()
	g.until("the packets to be taken", func() bool { g.pushOut(); return len(g.out) == 0 })
	g.m.dev.mu.Lock()
	if n := len(g.m.dev.resets); n > maxResets {
		t.Errorf("%d RSTs wait", n)
	}
	g.m.dev.mu.Unlock()
	g.refill()
	s.awaitReset()
	want, _ := sum(random(1<<20, 2))
	for _, os := range others {
		if got, err := sum(os); got != want || err != nil {
			t.Errorf("got %s, want %s (%v)", got, want, err)
		}
	}
}

func TestGuestOverrunsCredit(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	other, otherSock := pair(t, g)
	s.noCredit = true
	for {
		if _, err := s.Write(make([]byte, 64<<10)); err != nil {
			break
		}
	}
	s.awaitReset()
	if n, err := io.Copy(io.Discard, c); n > 2<<20 {
		t.Errorf("the host got %d bytes, %v", n, err)
	}
	exchange(t, other, otherSock, 1<<20)
}

func TestHalfClose(t *testing.T) {
	g := boot(t, Config{})
	t.Run("guest first", func(t *testing.T) {
		c, s := pair(t, g)
		io.WriteString(s, "question")
		s.CloseWrite()
		if b, err := io.ReadAll(c); string(b) != "question" || err != nil {
			t.Fatalf("%q, %v", b, err)
		}
		io.WriteString(c, "answer")
		c.Close()
		if b, err := io.ReadAll(s); string(b) != "answer" || err != nil {
			t.Fatalf("%q, %v", b, err)
		}
		s.Close()
	})
	t.Run("host first", func(t *testing.T) {
		c, s := pair(t, g)
		io.WriteString(c, "question")
		c.CloseWrite()
		if b, err := io.ReadAll(s); string(b) != "question" || err != nil {
			t.Fatalf("%q, %v", b, err)
		}
		g.mu.Lock()
		if s.peerShut != shutSend {
			t.Errorf("guest sees shutdown %d", s.peerShut)
		}
		g.mu.Unlock()
		io.WriteString(s, "answer")
		s.Close()
		if b, err := io.ReadAll(c); string(b) != "answer" || err != nil {
			t.Fatalf("%q, %v", b, err)
		}
		s.awaitReset()
	})
	t.Run("host half, then gone", func(t *testing.T) {
		c, s := pair(t, g)
		c.CloseWrite()
		g.until("end of data", func() bool { return s.peerShut == shutSend })
		c.Close()
		g.until("end", func() bool { return s.peerShut == shutBoth })
	})
	t.Run("guest stops receiving", func(t *testing.T) {
		c, s := pair(t, g)
		s.Shutdown(shutReceive)
		for {
			if _, err := c.Write(make([]byte, 4096)); err != nil {
				if !errors.Is(err, syscall.EPIPE) {
					t.Error(err)
				}
				break
			}
		}
		io.WriteString(s, "still")
		s.Close()
		if b, err := io.ReadAll(c); string(b) != "still" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	})
	t.Run("guest stops receiving while the host waits to send", func(t *testing.T) {
		c, s := pair(t, g)
		failed := make(chan error)
		go func() {
			_, err := io.Copy(onlyWriter{c}, random(16<<20, 1))
			failed <- err
		}()
		g.until("the guest's buffer to be full", func() bool { return len(s.in) == int(s.bufAlloc) })
		s.Shutdown(shutReceive)
		if err := <-failed; !errors.Is(err, syscall.EPIPE) {
			t.Error(err)
		}
		s.Close()
	})
	t.Run("guest closes with data on its way", func(t *testing.T) {
		c, s := pair(t, g)
		g.mu.Lock()
		s.bufAlloc = 0
		s.send(opCreditUpdate, 0, nil)
		s.send(opData, 0, []byte("x"))
		g.mu.Unlock()
		io.ReadFull(c, make([]byte, 1))
		io.WriteString(c, "stays in the socket")
		s.Close()
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v, want the end of file", n, err)
		}
	})
	t.Run("host stops receiving", func(t *testing.T) {
		c, s := pair(t, g)
		c.CloseRead()
		for {
			if _, err := s.Write(make([]byte, 4096)); err != nil {
				if !errors.Is(err, syscall.EPIPE) {
					t.Error(err)
				}
				break
			}
		}
		io.WriteString(c, "still")
		c.Close()
		if b, err := io.ReadAll(s); string(b) != "still" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		s.Close()
	})
	awaitIdle(t, g.m.dev)
}

// All that a guest sent before it closed reaches a host that reads late; a clean close is an end of file.
func TestCloseWithBacklog(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	io.WriteString(c, "never read by the guest")
	const n = 300 << 10
	if _, err := io.Copy(onlyWriter{s}, random(n, 3)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.awaitReset() // at once, not when the host has read
	want, _ := sum(random(n, 3))
	if got, err := sum(c); got != want || err != nil {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
	awaitIdle(t, g.m.dev)
}

// TestCloseWithAStandingClient: a device is closed although a client does not read what the guest sent before it closed.
func TestCloseWithAStandingClient(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	const n = 300 << 10
	if _, err := io.Copy(onlyWriter{s}, random(n, 3)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.awaitReset()
	g.m.slot.Pause()
	g.m.dev.Close()
	if got, err := io.Copy(io.Discard, c); got == 0 || got > n || err != nil {
		t.Errorf("the client reads %d bytes, %v", got, err)
	}
}

func TestResetMidStream(t *testing.T) {
	g := boot(t, Config{})
	t.Run("by the guest", func(t *testing.T) {
		c, s := pair(t, g)
		go io.Copy(onlyWriter{c}, random(64<<20, 1))
		io.CopyN(io.Discard, s, 1<<20)
		g.mu.Lock()
		s.send(opReset, 0, nil)
		s.reset = true
		delete(g.socks, s.key)
		g.mu.Unlock()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, syscall.ETIMEDOUT) || err == nil {
			t.Errorf("host reads %d, %v", n, err)
		}
	})
	t.Run("by the host", func(t *testing.T) {
		c, s := pair(t, g)
		go io.Copy(onlyWriter{s}, random(64<<20, 1))
		io.CopyN(io.Discard, c, 1<<20)
		c.Close()
		g.until("the guest to be told", func() bool { return s.reset || s.peerShut == shutBoth })
	})
	awaitIdle(t, g.m.dev)
}

func TestManyConnectionsAtOnce(t *testing.T) {
	g := boot(t, Config{})
	var wg sync.WaitGroup
	for range 50 {
		c, s := pair(t, g)
		wg.Go(func() { exchange(t, c, s, 300<<10) })
	}
	wg.Wait()
}

func TestPauseDuringBulk(t *testing.T) {
	g := boot(t, Config{})
	c, s := pair(t, g)
	done := make(chan struct{})
	go func() {
		exchange(t, c, s, 50<<20)
		close(done)
	}()
	pauses := 0
	for {
		select {
		case <-done:
			if pauses == 0 {
				t.Error("no pause happened")
			}
			return
		default:
		}
		g.m.slot.Pause()
		used := bytes.Clone(must(g.m.mem.Bytes(g.m.rings[queueRx].used(), 4+8*queueSize)))
		if _, err := g.m.slot.Save(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(used, must(g.m.mem.Bytes(g.m.rings[queueRx].used(), 4+8*queueSize))) {
			t.Error("the used ring changed during a pause")
		}
		g.m.resume()
		pauses++
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
