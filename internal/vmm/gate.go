package vmm

import "sync"

// gate is where vCPU threads wait while the machine is paused.
type gate struct {
	mu     sync.Mutex
	cond   *sync.Cond
	parked int
}

func newGate() *gate {
	g := &gate{}
	g.cond = sync.NewCond(&g.mu)
	return g
}

// park holds the calling vCPU thread until its request is no longer to park.
func (g *gate) park(v *vcpu) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parked++
	g.cond.Broadcast()
	for v.request.Load() == requestPark {
		g.cond.Wait()
	}
	g.parked--
}

// waitParked returns once n vCPU threads are parked, or given up returns true.
func (g *gate) waitParked(n int, givenUp func() bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.parked < n && !givenUp() {
		g.cond.Wait()
	}
	return g.parked >= n
}

// wake makes parked threads, and whoever waits for them, look again.
func (g *gate) wake() {
	g.mu.Lock()
	g.cond.Broadcast()
	g.mu.Unlock()
}
