package agent_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"clone/internal/agent"
	"clone/internal/agentproto"
)

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to that")
		}
	}
}

func TestSetClock(t *testing.T) {
	for _, offset := range []time.Duration{0, time.Hour, -1500 * time.Millisecond, 300 * time.Millisecond} {
		g := startGuest(t)
		g.offset.Store(int64(offset))
		c := g.connect(t)
		bound, err := c.SetClock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		left := time.Duration(g.offset.Load()).Abs()
		if left > bound || bound > 10*time.Millisecond {
			t.Errorf("off by %v: now by %v, reported at most %v", offset, left, bound)
		}
		if steps := g.steps.Load(); (offset == 0 && bound < time.Millisecond && steps > 1) || steps > 5 {
			t.Errorf("off by %v: %d steps", offset, steps)
		}
		m, err := c.MeasureClock(t.Context())
		if err != nil || m.RTT <= 0 || (m.Offset-time.Duration(g.offset.Load())).Abs() > m.RTT/2+time.Millisecond {
			t.Errorf("measured %+v, %v", m, err)
		}
	}
}

// On a busy host no single exchange is short: what each rules out is put together.
func TestSetClockOfABusyGuest(t *testing.T) {
	g := startGuest(t)
	g.lag = 40 * time.Millisecond
	g.offset.Store(int64(-35 * time.Millisecond))
	bound, err := g.connect(t).SetClock(t.Context())
	if left := time.Duration(g.offset.Load()).Abs(); err != nil || left > bound || bound > 10*time.Millisecond {
		t.Errorf("now off by %v, reported at most %v, %v", left, bound, err)
	}
	if n := g.reads.Load(); n > 100 {
		t.Errorf("it took %d exchanges", n)
	}
}

// slow is a connection on which each message takes a while.
type slow struct {
	net.Conn
	wait time.Duration
}

func (c slow) Write(p []byte) (int, error) {
	time.Sleep(c.wait)
	return c.Conn.Write(p)
}

// A guest that reads the host's clock itself is not at the mercy of the way between them.
func TestComparedClocks(t *testing.T) {
	g := startGuest(t)
	g.clock = true
	g.offset.Store(int64(time.Hour))
	c, err := agent.Dial(t.Context(), func(ctx context.Context) (net.Conn, error) {
		conn, err := g.dial(ctx)
		return slow{conn, 30 * time.Millisecond}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	bound, err := c.SetClock(t.Context())
	if left := time.Duration(g.offset.Load()).Abs(); err != nil || left > bound || bound > 5*time.Millisecond {
		t.Errorf("now off by %v, reported at most %v, %v", left, bound, err)
	}
	r, ok, err := c.MeasureRawClock(t.Context(), func() (int64, error) { return 0, errors.New("not to be asked") })
	if err != nil || !ok || (r.Behind-rawBehind).Abs() > r.Bound || r.Bound > 5*time.Millisecond {
		t.Errorf("measured %+v, %v, %v", r, ok, err)
	}
}

// A guest that cannot read the host's clock is asked for that once.
func TestClocksNotCompared(t *testing.T) {
	g := startGuest(t)
	g.offset.Store(int64(time.Hour))
	c := g.connect(t)
	for range 2 {
		bound, err := c.SetClock(t.Context())
		if left := time.Duration(g.offset.Load()).Abs(); err != nil || left > bound {
			t.Errorf("now off by %v, reported at most %v, %v", left, bound, err)
		}
	}
	if n := g.mapped.Load(); n != 1 {
		t.Errorf("%d times", n)
	}
}

// What was found out before the time was up is worth having.
func TestMeasureRawClockForAWhile(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	readings := 0
	r, ok, err := startGuest(t).connect(t).MeasureRawClock(ctx, func() (int64, error) {
		if readings++; readings > 4 {
			cancel()
		}
		time.Sleep(5 * time.Millisecond)
		return time.Now().UnixNano(), nil
	})
	if err != nil || !ok || (r.Behind-rawBehind).Abs() > r.Bound || readings > 6 {
		t.Errorf("measured %+v, %v, %v, %d readings", r, ok, err, readings)
	}
}

func TestApplyIdentity(t *testing.T) {
	g := startGuest(t)
	c := g.connect(t)
	id := agentproto.Identity{
		Fork: true, UUID: [16]byte{1}, Hostname: "fork-1", MachineID: [16]byte{2},
		Entropy: [32]byte{3}, WallClock: time.Now().UnixNano(),
	}
	ack, err := c.ApplyIdentity(t.Context(), id)
	if err != nil || len(ack.Items) != 6 {
		t.Fatalf("%+v, %v", ack, err)
	}
	if g.hostname != "fork-1" || len(g.seeds) != 1 || [32]byte(g.seeds[0]) != id.Entropy {
		t.Errorf("hostname %q, seeds %v", g.hostname, g.seeds)
	}
	id.Entropy = [32]byte{}
	if _, err := c.ApplyIdentity(t.Context(), id); err == nil {
		t.Error("an identity without entropy was sent")
	}
}

func TestSmallRequests(t *testing.T) {
	g := startGuest(t)
	c := g.connect(t)
	ctx := t.Context()
	if err := c.Sync(ctx); err != nil || g.synced != 1 {
		t.Errorf("sync: %v", err)
	}
	if err := c.Shutdown(ctx, agentproto.Reboot, true); err != nil || !slices.Equal(g.ended, []agentproto.Shutdown{{Mode: agentproto.Reboot, Force: true}}) {
		t.Errorf("shutdown: %v, %v", g.ended, err)
	}
	if err := c.BindDevice(ctx, "LNRO0005:03"); err != nil || !slices.Equal(g.bound, []string{"virtio-mmio LNRO0005:03"}) {
		t.Errorf("bind: %v, %v", g.bound, err)
	}
	for _, name := range []string{"", "../x", "a/b", "."} {
		if c.BindDevice(ctx, name) == nil {
			t.Errorf("bound %q", name)
		}
	}
	if err := c.AddEntropy(ctx, make([]byte, 64)); err != nil || len(g.seeds) != 1 {
		t.Errorf("entropy: %v", err)
	}
	if c.AddEntropy(ctx, make([]byte, 15)) == nil || c.AddEntropy(ctx, make([]byte, 513)) == nil {
		t.Error("entropy of a wrong size was sent")
	}
	st, err := c.Stats(ctx)
	if err != nil || st.MemTotal == 0 || st.MemAvailable == 0 || st.MemAvailable > st.MemTotal || st.Processes == 0 || st.Uptime == 0 {
		t.Errorf("stats: %+v, %v", st, err)
	}
	h, err := c.Hello(ctx)
	if err != nil || h != c.Agent() || h.Version != agentproto.Version || h.Capabilities&agentproto.CapTTY == 0 {
		t.Errorf("hello: %+v, %v", h, err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Stats(done); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestMeasureRawClock(t *testing.T) {
	c := startGuest(t).connect(t)
	r, ok, err := c.MeasureRawClock(t.Context(), func() (int64, error) { return time.Now().UnixNano(), nil })
	if err != nil || !ok || (r.Behind-rawBehind).Abs() > r.Bound || r.Bound > 10*time.Millisecond {
		t.Errorf("measured %+v, %v, %v", r, ok, err)
	}
}
