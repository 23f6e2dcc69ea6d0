package virtio

import (
	"testing"

	"go.uber.org/goleak"
)

// counter is a device that tells of each HandleQueue; everything else of it is never called.
type counter struct {
	Device
	handled chan int
}

func (c *counter) HandleQueue(i int) { c.handled <- i }

func TestWorker(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	kick := newKick(t)
	dev := &counter{handled: make(chan int)}
	for range 3 {
		w := StartWorker(dev, 7, kick)
		if i := <-dev.handled; i != 7 { // the first call needs no signal
			t.Fatalf("HandleQueue(%d)", i)
		}
		for range 3 {
			kick.Signal()
			<-dev.handled
		}
		w.Stop()
	}
}

// TestWorkerKeepsLateSignals stops a worker and signals: the next one must see to it, by its first call or the signal.
func TestWorkerKeepsLateSignals(t *testing.T) {
	kick := newKick(t)
	dev := &counter{handled: make(chan int, 8)}
	w := StartWorker(dev, 0, kick)
	w.Stop()
	for len(dev.handled) > 0 {
		<-dev.handled
	}
	kick.Signal()
	w = StartWorker(dev, 0, kick)
	<-dev.handled
	<-dev.handled
	w.Stop()
}
