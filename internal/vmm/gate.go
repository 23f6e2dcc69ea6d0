package vmm

import "sync"

// gate is where vCPU threads wait while the machine is paused, each at its own bell.
type gate struct {
	mu     sync.Mutex
	cond   *sync.Cond // parked changed, or the machine ended
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
	// Looking and leaving are one step: a vCPU that counts as parked stays so unless its request is taken back.
	for v.request.Load() == requestPark {
		g.mu.Unlock()
		v.bell.Wait()
		g.mu.Lock()
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

// wake makes whoever waits for parked threads look again.
func (g *gate) wake() {
	g.mu.Lock()
	g.cond.Broadcast()
	g.mu.Unlock()
}
