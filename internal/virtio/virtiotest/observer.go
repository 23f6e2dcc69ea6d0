package virtiotest

import (
	"fmt"
	"sync"

	"clone/internal/virtio"
)

// observer stands between a slot and a device: it checks that the transport keeps the device contract, and knows when
// the device has looked at a queue.
type observer struct {
	virtio.Device

	mu      sync.Mutex
	changed *sync.Cond
	running bool
	session *virtio.Session
	started []uint64 // HandleQueue calls begun, by queue
	ended   []uint64 // HandleQueue calls returned, by queue
	broken  []error  // what the transport did against the contract
}

func observe(dev virtio.Device) *observer {
	n := len(dev.Spec().QueueSizes)
	o := &observer{Device: dev, started: make([]uint64, n), ended: make([]uint64, n)}
	o.changed = sync.NewCond(&o.mu)
	return o
}

func (o *observer) Start(s *virtio.Session) error {
	o.expect(!o.isRunning(), "Start of a running device")
	o.set(true, s)
	err := o.Device.Start(s)
	if err != nil {
		o.set(false, nil)
	}
	return err
}

func (o *observer) Stop() {
	o.expect(o.isRunning(), "Stop of a device that does not run")
	o.Device.Stop()
	o.set(false, nil)
}

// Busy is the device's, if it has one.
func (o *observer) Busy() bool {
	dev, ok := o.Device.(virtio.Busy)
	return ok && dev.Busy()
}

func (o *observer) HandleQueue(i int) {
	o.mu.Lock()
	if !o.running || o.started[i] != o.ended[i] {
		o.broken = append(o.broken, fmt.Errorf("HandleQueue(%d) while stopped, or twice at a time", i))
	}
	o.started[i]++
	o.mu.Unlock()
	o.Device.HandleQueue(i)
	o.mu.Lock()
	o.ended[i]++
	o.mu.Unlock()
	o.wake()
}

func (o *observer) Save() ([]byte, error) {
	o.expect(!o.isRunning(), "Save of a running device")
	return o.Device.Save()
}

func (o *observer) Load(state []byte) error {
	o.expect(!o.isRunning(), "Load into a running device")
	return o.Device.Load(state)
}

func (o *observer) isRunning() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.running
}

func (o *observer) set(running bool, s *virtio.Session) {
	o.mu.Lock()
	o.running, o.session = running, s
	o.mu.Unlock()
	o.wake()
}

func (o *observer) expect(ok bool, what string) {
	if ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = append(o.broken, fmt.Errorf("transport breaks the device contract: %s", what))
}

func (o *observer) faults() []error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.broken
}

// wake lets settle look again.
func (o *observer) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed.Broadcast()
}

// settle calls notify for queue i and returns when the device has looked at it, or does not serve it at all.
func (o *observer) settle(i int, serving func() bool, notify func()) {
	o.mu.Lock()
	target := o.started[i] + 1
	o.mu.Unlock()
	notify()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.running && o.session.Queues[i].Ready && o.ended[i] < target && serving() {
		o.changed.Wait()
	}
}
