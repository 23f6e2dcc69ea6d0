package vsock

import (
	"encoding/binary"

	"clone/internal/virtio"
)

// eventTransportReset is VIRTIO_VSOCK_EVENT_TRANSPORT_RESET (virtio 1.2 §5.10.6.7), a struct virtio_vsock_event of eventSize bytes.
const (
	eventTransportReset = 0
	eventSize           = 4
)

// transportReset is the event that tells a restored guest that its connections are dead and its CID may be new.
//
//	none ──▶ wanted ──(a buffer is available)──▶ sent ──(the driver returned the buffer)──▶ none
//
// All available event buffers are kept popped: only then does a returned buffer show, and is notified.
type transportReset struct {
	wanted bool
	sent   bool
	spare  []*virtio.Chain // available buffers, popped and unused
	kept   int             // how many there were when the event was sent
}

// holding tells whether the guest may yet drop a connection that it is asked for now.
func (t *transportReset) holding() bool { return t.wanted || t.sent }

// resumed is told of the queue a session continues with: without an event queue there is nobody to tell.
func (t *transportReset) resumed(q *virtio.Queue) {
	if !q.Ready {
		*t = transportReset{}
	}
}

// stopped gives the spare buffers back: they were the last popped, so the ring just goes back over them.
func (t *transportReset) stopped(q *virtio.Queue) {
	q.NextAvail -= uint16(len(t.spare))
	t.spare = nil
}

// step takes what is available and moves on as far as it can.
func (t *transportReset) step(q *virtio.Queue) error {
	for more := true; more; more = q.EnableKicks() {
		chain, err := q.Pop()
		if err != nil {
			return err
		}
		if chain != nil {
			t.spare = append(t.spare, chain)
		}
		if len(t.spare) == int(q.Size) {
			break
		}
	}
	if t.sent && len(t.spare) > t.kept {
		t.sent = false
	}
	for t.wanted && len(t.spare) > 0 {
		chain := t.spare[0]
		t.spare = t.spare[1:]
		var b [eventSize]byte
		binary.LittleEndian.PutUint32(b[:], eventTransportReset)
		if chain.Writable.Len() < eventSize {
			q.Push(chain, 0)
			continue
		}
		q.Push(chain, uint32(chain.Writable.CopyFrom(b[:], 0)))
		t.wanted, t.sent, t.kept = false, true, len(t.spare)
	}
	q.Notify()
	return nil
}

// eventsReturned is the driver's notification that event buffers are available.
func (d *Device) eventsReturned() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed || !d.event.holding() {
		return
	}
	if err := d.event.step(d.session.Queues[queueEvent]); err != nil {
		d.fail(err)
		return
	}
	if !d.event.holding() {
		for _, c := range d.conns {
			d.enqueue(c)
		}
		d.flush()
	}
}
