package virtio

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clone/internal/guestmem"
)

func TestGeometry(t *testing.T) {
	good := QueueState{Size: 8, Ready: true, Desc: descAt, Avail: availAt, Used: usedAt}
	for _, c := range []struct {
		name   string
		change func(*QueueState)
		ok     bool
	}{
		{"good", func(*QueueState) {}, true},
		{"size 1", func(s *QueueState) { s.Size = 1 }, true},
		{"size 0", func(s *QueueState) { s.Size = 0 }, false},
		{"size 3", func(s *QueueState) { s.Size = 3 }, false},
		{"size 2048", func(s *QueueState) { s.Size = 2 * QueueSizeMax }, false},
		{"table misaligned", func(s *QueueState) { s.Desc += 8 }, false},
		{"available misaligned", func(s *QueueState) { s.Avail++ }, false},
		{"used misaligned", func(s *QueueState) { s.Used += 2 }, false},
		{"table outside", func(s *QueueState) { s.Desc = testRAM - 7*16 }, false},
		{"table ends with RAM", func(s *QueueState) { s.Desc = testRAM - 8*16 }, true},
		{"available outside", func(s *QueueState) { s.Avail = testRAM - 6 - 8*2 + 2 }, false},
		{"available ends with RAM", func(s *QueueState) { s.Avail = testRAM - 6 - 8*2 }, true},
		{"used outside", func(s *QueueState) { s.Used = testRAM - 4 - 8*8 }, false},
		{"available around the end of addresses", func(s *QueueState) { s.Avail = ^uint64(1) }, false},
		{"used around the end of addresses", func(s *QueueState) { s.Used = ^uint64(3) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := good
			c.change(&st)
			_, err := NewQueue(st, QueueWiring{Memory: newMemory(t, testRAM), Kick: newKick(t), Interrupt: func() {}})
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrRing) {
				t.Errorf("NewQueue: %v", err)
			}
		})
	}
}

func TestQueueNotReady(t *testing.T) {
	q, err := NewQueue(QueueState{Desc: 3, NextUsed: 5}, QueueWiring{Memory: newMemory(t, testRAM), Kick: newKick(t),
		Interrupt: func() { t.Error("interrupt") }})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := q.Pop(); c != nil || err != nil {
		t.Errorf("pop: %v, %v", c, err)
	}
	q.DisableKicks()
	q.Notify()
	if q.EnableKicks() {
		t.Error("a queue that is not ready has more")
	}
	if err := q.Drain(nil); err != nil {
		t.Error(err)
	}
}

// TestRoundTrip pops and pushes over the wrap of ring and indexes.
func TestRoundTrip(t *testing.T) {
	r := newRing(t, 4, 0, 65533)
	for i := range uint16(4) {
		r.write(descAt+16*uint64(i), encode(descriptor{buffersAt + 64*uint64(i), 64, descWrite, 0}))
	}
	for n := range uint16(20) {
		head := n * 3 % 4
		r.offer(head)
		c := r.mustPop()
		if c.Head != head {
			t.Fatalf("head %d, want %d", c.Head, head)
		}
		if again, err := r.q.Pop(); again != nil || err != nil {
			t.Fatalf("chain popped twice: %v, %v", again, err)
		}
		r.q.Push(c, uint32(n))
		at := 65533 + n
		if id, length, idx := r.used(at); id != uint32(head) || length != uint32(n) || idx != at+1 {
			t.Fatalf("used entry %d: %d, %d, index %d", at, id, length, idx)
		}
	}
	if r.q.NextAvail != 17 || r.q.NextUsed != 17 {
		t.Errorf("indexes %d, %d after the wrap", r.q.NextAvail, r.q.NextUsed)
	}
}

func TestAvailableIndex(t *testing.T) {
	for _, c := range []struct {
		start, idx uint16
		ok         bool
	}{{0, 4, true}, {0, 5, false}, {0, 0xffff, false}, {65534, 2, true}, {65534, 3, false}} {
		r := newRing(t, 4, 0, c.start)
		r.descs(descriptor{buffersAt, 1, 0, 0})
		r.word(availAt + 2).Store(c.idx)
		if chain, err := r.q.Pop(); (err == nil) != c.ok || c.ok && chain == nil {
			t.Errorf("from %d to %d: %v, %v", c.start, c.idx, chain, err)
		}
	}
}

func TestHeadOutOfRange(t *testing.T) {
	r := newRing(t, 4, 0, 0)
	r.offer(4)
	if _, err := r.q.Pop(); !errors.Is(err, ErrRing) {
		t.Errorf("head 4 of 4: %v", err)
	}
}

// push pushes n chains without a driver's request for them: the ring's book-keeping is what is looked at.
func (r *testRing) push(n int) {
	for range n {
		r.q.Push(&Chain{}, 0)
	}
}

func TestNotifyFlags(t *testing.T) {
	r := newRing(t, 4, 0, 0)
	r.q.Notify()
	if r.interrupts != 0 {
		t.Error("interrupt for nothing")
	}
	r.push(2)
	r.q.Notify()
	r.q.Notify()
	if r.interrupts != 1 {
		t.Errorf("%d interrupts for two chains and one Notify", r.interrupts)
	}
	r.setAvailFlags(availNoInterrupt)
	r.push(1)
	r.q.Notify()
	if r.interrupts != 1 {
		t.Error("interrupt that the driver did not want")
	}
	r.setAvailFlags(0)
	r.q.Notify()
	if r.interrupts != 1 {
		t.Error("interrupt for what was suppressed")
	}
	r.push(1)
	r.q.Notify()
	if r.interrupts != 2 {
		t.Error("no interrupt")
	}
}

// TestNotifyEvent goes through virtio 1.2 §2.7.7.2: an interrupt when the used index passes used_event.
func TestNotifyEvent(t *testing.T) {
	for _, c := range []struct {
		name        string
		start       uint16
		event       uint16
		push        int
		interrupted bool
	}{
		{"the next", 10, 10, 1, true},
		{"the last of several", 10, 12, 3, true},
		{"the first of several", 10, 10, 3, true},
		{"not yet", 10, 13, 3, false},
		{"long ago", 10, 9, 3, false},
		{"the one before the wrap", 65535, 65535, 1, true},
		{"the one after the wrap", 65535, 0, 2, true},
		{"after the wrap, not yet", 65535, 1, 2, false},
		{"before the wrap, long ago", 65535, 65534, 2, false},
		{"over the wrap", 65530, 65533, 16, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRing(t, 16, FeatureEventIdx, c.start)
			r.setAvailFlags(availNoInterrupt) // has no meaning with event indexes
			r.setUsedEvent(c.event)
			r.push(c.push)
			r.q.Notify()
			if got := r.interrupts == 1; got != c.interrupted {
				t.Errorf("%d interrupts", r.interrupts)
			}
		})
	}
}

// TestNotifyAfterSilence keeps interrupts suppressed for a whole turn of the 16-bit index, as a polling driver does:
// the next one that is wanted comes, although the index is where it was at the last.
func TestNotifyAfterSilence(t *testing.T) {
	for _, features := range []uint64{0, FeatureEventIdx} {
		r := newRing(t, 4, features, 0)
		r.push(1)
		r.q.Notify() // used_event is 0, and stays there: the index comes to it again after 65536 chains
		r.setAvailFlags(availNoInterrupt)
		for range 65535 {
			r.push(1)
			r.q.Notify()
		}
		if r.interrupts != 1 {
			t.Fatalf("%d interrupts while suppressed", r.interrupts)
		}
		r.setAvailFlags(0)
		r.push(1)
		r.q.Notify()
		if r.interrupts != 2 {
			t.Errorf("features %#x: no interrupt after the silence", features)
		}
	}
}

func TestKicksFlags(t *testing.T) {
	r := newRing(t, 4, 0, 0)
	r.q.DisableKicks()
	if r.usedFlags() != usedNoNotify {
		t.Error("notifications are not suppressed")
	}
	if r.q.EnableKicks() {
		t.Error("more in an empty ring")
	}
	if r.usedFlags() != 0 {
		t.Error("notifications stay suppressed")
	}
	r.offer(0)
	if !r.q.EnableKicks() {
		t.Error("a chain that came before is not seen")
	}
}

func TestKicksEvent(t *testing.T) {
	r := newRing(t, 4, FeatureEventIdx, 65535)
	r.descs(descriptor{buffersAt, 1, 0, 0})
	r.q.DisableKicks()
	if r.usedFlags() != 0 {
		t.Error("used flags are touched, although event indexes replace them")
	}
	if r.q.EnableKicks() || r.availEvent() != 65535 {
		t.Errorf("avail_event %d, want 65535", r.availEvent())
	}
	r.offer(0)
	r.mustPop()
	if r.q.EnableKicks() || r.availEvent() != 0 {
		t.Errorf("avail_event %d after the wrap", r.availEvent())
	}
}

// TestDrain lets the driver add a chain while the first is handled: it must not be left behind.
func TestDrain(t *testing.T) {
	for _, features := range []uint64{0, FeatureEventIdx} {
		r := newRing(t, 4, features, 0)
		r.setUsedEvent(0)
		r.descs(descriptor{buffersAt, 8, descWrite, 0}, descriptor{buffersAt, 8, descWrite, 0})
		r.offer(0)
		var heads []uint16
		err := r.q.Drain(func(c *Chain) uint32 {
			if heads = append(heads, c.Head); len(heads) == 1 {
				r.offer(1)
			}
			return 8
		})
		if err != nil || len(heads) != 2 || heads[1] != 1 {
			t.Fatalf("drained %v: %v", heads, err)
		}
		if _, _, idx := r.used(0); idx != 2 {
			t.Errorf("used index %d", idx)
		}
		if want := map[uint64]int{0: 2, FeatureEventIdx: 1}[features]; r.interrupts != want {
			t.Errorf("%d interrupts, want %d", r.interrupts, want)
		}
		if features == 0 && r.usedFlags() != 0 || features != 0 && r.availEvent() != 2 {
			t.Error("the driver is not asked to notify")
		}
	}
}

func TestDrainStopsAtNonsense(t *testing.T) {
	r := newRing(t, 4, 0, 0)
	r.descs(descriptor{buffersAt, 8, descWrite, 0})
	r.offer(0, 9, 0)
	handled := 0
	err := r.q.Drain(func(*Chain) uint32 { handled++; return 0 })
	if !errors.Is(err, ErrRing) || handled != 1 {
		t.Errorf("handled %d, %v", handled, err)
	}
}

// TestNoLostKick makes chains available in pairs, the second at varying times after the first was taken: it races the
// queue's way back to waiting. A notification that is neither sent nor made good for leaves both sides waiting.
func TestNoLostKick(t *testing.T) {
	for _, features := range []uint64{0, FeatureEventIdx} {
		r := newRing(t, 4, features, 0)
		r.descs(descriptor{buffersAt, 8, descWrite, 0})
		var taken atomic.Uint32
		var device sync.WaitGroup
		device.Go(func() {
			for r.q.Kick().Wait() {
				if err := r.q.Drain(func(*Chain) uint32 { taken.Add(1); return 0 }); err != nil {
					t.Error(err)
				}
			}
		})
		t.Cleanup(func() {
			r.q.Kick().Interrupt()
			device.Wait()
		})
		// The ring is full of head 0: moving the index is all it takes, and is over before the device looks again.
		idx, flags, event := r.word(availAt+2), r.word(usedAt), r.word(usedAt+4+8*4)
		offer := func() {
			old := r.availIdx
			r.availIdx++
			idx.Store(r.availIdx)
			guestmem.Fence()
			if features == 0 && flags.Load() == 0 || features != 0 && event.Load() == old {
				r.q.Kick().Signal()
			}
		}
		for pair := range uint32(20000) {
			offer()
			r.spin(func() bool { return taken.Load() == 2*pair+1 })
			for range pair % 128 {
				taken.Load()
			}
			offer()
			r.spin(func() bool { return taken.Load() == 2*pair+2 })
		}
	}
}

// spin waits for a condition that another thread is about to make true. It is quick to return: no t.Helper here.
func (r *testRing) spin(done func() bool) {
	begin := time.Now()
	for spins := 1; !done(); spins++ {
		if spins%1000 == 0 {
			runtime.Gosched()
			if time.Since(begin) > 10*time.Second {
				r.t.Fatalf("a chain at index %d is not taken", r.availIdx-1)
			}
		}
	}
}

// TestDrainIsInterrupted has a chain that makes itself available again each time, without any driver: a buffer that
// the device fills may overlay the ring.
func TestDrainIsInterrupted(t *testing.T) {
	r := newRing(t, 4, 0, 0)
	r.descs(descriptor{buffersAt, 8, descWrite, 0})
	r.offer(0)
	handled := 0
	err := r.q.Drain(func(*Chain) uint32 {
		if handled++; handled == 1000 {
			r.q.Kick().Interrupt()
		}
		r.offer(0)
		return 0
	})
	if err != nil || handled != 1000 {
		t.Errorf("handled %d, %v", handled, err)
	}
	if r.q.NextAvail != r.q.NextUsed || r.q.NextUsed != 1000 {
		t.Errorf("stopped between pop and push: %d, %d", r.q.NextAvail, r.q.NextUsed)
	}
}
