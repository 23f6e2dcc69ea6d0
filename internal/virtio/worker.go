package virtio

import (
	"sync"

	"clone/internal/eventfd"
)

// Worker calls a device's HandleQueue on a goroutine of its own each time the queue's event is signalled.
type Worker struct {
	kick *eventfd.Event
	done sync.WaitGroup
}

// StartWorker begins with one call, for what the driver made available before anyone listened.
func StartWorker(dev Device, queue int, kick *eventfd.Event) *Worker {
	w := &Worker{kick: kick}
	kick.Rearm()
	w.done.Go(func() {
		dev.HandleQueue(queue)
		for kick.Wait() {
			dev.HandleQueue(queue)
		}
	})
	return w
}

// Stop returns when HandleQueue is not running and will not be called again. A signal that came too late is kept in
// the event.
func (w *Worker) Stop() {
	w.kick.Interrupt()
	w.done.Wait()
}
