package virtio

import (
	"encoding/binary"
	"errors"
	"fmt"

	"clone/internal/eventfd"
	"clone/internal/guestmem"
)

// Ring flags (virtio 1.2 §2.7.6, §2.7.8).
const (
	availNoInterrupt = 1
	usedNoNotify     = 1
)

// ErrRing is wrapped by every error about a ring or a descriptor that makes no sense.
var ErrRing = errors.New("malformed virtqueue")

// QueueState is everything about a queue that outlives a pause: what the driver programmed, and how far we are.
type QueueState struct {
	Size  uint16 `json:"size"`  // number of descriptors the driver chose
	Ready bool   `json:"ready"` // QueueReady
	Desc  uint64 `json:"desc"`  // GPA of the descriptor table
	Avail uint64 `json:"avail"` // GPA of the driver area
	Used  uint64 `json:"used"`  // GPA of the device area

	NextAvail uint16 `json:"next_avail"` // index of the next available entry to pop
	NextUsed  uint16 `json:"next_used"`  // index of the next used entry to push
}

// Queue is one split virtqueue (virtio 1.2 §2.7), the device's side of it. It is not safe for concurrent use: the
// device that pushes from other goroutines than HandleQueue's holds a lock of its own.
type Queue struct {
	QueueState

	mem      *guestmem.Memory
	desc     []byte // Size × 16 bytes
	availIdx guestmem.Word16
	avail    []byte // ring: Size × 2 bytes
	usedIdx  guestmem.Word16
	used     []byte // ring: Size × 8 bytes

	availFlags guestmem.Word16
	usedFlags  guestmem.Word16
	usedEvent  guestmem.Word16 // written by the driver: interrupt me when used passes this
	availEvent guestmem.Word16 // written by us: notify me when available passes this

	eventIdx bool
	indirect bool

	signalled uint16 // NextUsed at the last Notify, whether or not it interrupted
	kick      *eventfd.Event
	interrupt func()
}

// QueueWiring is what a transport connects a queue to.
type QueueWiring struct {
	Memory    *guestmem.Memory
	Features  uint64         // negotiated
	Kick      *eventfd.Event // signalled by the driver's notification
	Interrupt func()         // raises the used buffer notification
}

// NewQueue checks the geometry the driver programmed (virtio 1.2 §2.7) and returns the queue over it. A queue that
// is not Ready has no rings: Pop always finds it empty.
func NewQueue(st QueueState, w QueueWiring) (*Queue, error) {
	q := &Queue{
		QueueState: st, mem: w.Memory, kick: w.Kick, interrupt: w.Interrupt,
		eventIdx:  w.Features&FeatureEventIdx != 0,
		indirect:  w.Features&FeatureIndirectDesc != 0,
		signalled: st.NextUsed,
	}
	if !st.Ready {
		return q, nil
	}
	n := uint64(st.Size)
	if n == 0 || n&(n-1) != 0 || n > QueueSizeMax {
		return nil, fmt.Errorf("%w: queue size %d", ErrRing, n)
	}
	if st.Desc%16 != 0 || st.Avail%2 != 0 || st.Used%4 != 0 {
		return nil, fmt.Errorf("%w: misaligned rings %#x %#x %#x", ErrRing, st.Desc, st.Avail, st.Used)
	}
	var err error
	area := func(gpa, size uint64) []byte {
		b, e := w.Memory.Bytes(gpa, size)
		err = errors.Join(err, e)
		return b
	}
	word := func(gpa uint64) guestmem.Word16 {
		v, e := w.Memory.Word16(gpa)
		err = errors.Join(err, e)
		return v
	}
	q.desc = area(st.Desc, 16*n)
	q.avail = area(st.Avail+4, 2*n)
	q.used = area(st.Used+4, 8*n)
	q.availFlags, q.availIdx, q.usedEvent = word(st.Avail), word(st.Avail+2), word(st.Avail+4+2*n)
	q.usedFlags, q.usedIdx, q.availEvent = word(st.Used), word(st.Used+2), word(st.Used+4+8*n)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRing, err)
	}
	return q, nil
}

// Kick is the event the driver's notification signals, for a data path in the kernel.
func (q *Queue) Kick() *eventfd.Event { return q.kick }

// Pop takes the next available chain, or returns nil when there is none. The error wraps ErrRing.
func (q *Queue) Pop() (*Chain, error) {
	if !q.Ready {
		return nil, nil
	}
	pending := q.availIdx.Load() - q.NextAvail
	if pending == 0 {
		return nil, nil
	}
	if pending > q.Size {
		return nil, fmt.Errorf("%w: %d entries available in a ring of %d", ErrRing, pending, q.Size)
	}
	head := binary.LittleEndian.Uint16(q.avail[2*(q.NextAvail%q.Size):])
	chain, err := q.walk(head)
	if err != nil {
		return nil, err
	}
	q.NextAvail++
	return chain, nil
}

// Push returns a chain to the driver with the number of bytes written into its writable part (virtio 1.2 §2.7.8).
// The driver sees it at once; it is told by Notify.
func (q *Queue) Push(c *Chain, written uint32) {
	at := 8 * int(q.NextUsed%q.Size)
	binary.LittleEndian.PutUint32(q.used[at:], uint32(c.Head))
	binary.LittleEndian.PutUint32(q.used[at+4:], written)
	q.NextUsed++
	q.usedIdx.Store(q.NextUsed)
}

// Notify interrupts the driver if it wishes so for what was pushed since the last Notify (virtio 1.2 §2.7.7). It is
// called at least once in 65535 pushes.
func (q *Queue) Notify() {
	// What was suppressed now stays so: a driver that changes its mind looks at the ring again (§2.7.7.2). Counting from
	// the last interrupt instead would lose one after 65536 suppressed pushes, when the index is where it was.
	old := q.signalled
	q.signalled = q.NextUsed
	if !q.Ready || q.NextUsed == old {
		return
	}
	guestmem.Fence()
	if q.eventIdx {
		if event := q.usedEvent.Load(); q.NextUsed-event-1 >= q.NextUsed-old {
			return
		}
	} else if q.availFlags.Load()&availNoInterrupt != 0 {
		return
	}
	q.interrupt()
}

// DisableKicks asks the driver not to notify while we are looking anyway. It is a wish, not a promise.
func (q *Queue) DisableKicks() {
	if q.Ready && !q.eventIdx {
		q.usedFlags.Store(usedNoNotify)
	}
}

// EnableKicks asks to be notified of the next available chain, and tells whether one is there already: then no
// notification may come for it and the caller looks again (virtio 1.2 §2.7.10).
func (q *Queue) EnableKicks() (more bool) {
	if !q.Ready {
		return false
	}
	if q.eventIdx {
		q.availEvent.Store(q.NextAvail)
	} else {
		q.usedFlags.Store(0)
	}
	guestmem.Fence()
	return q.availIdx.Load() != q.NextAvail
}

// Drain pops every available chain, pushes each with the length that handle returns, and notifies the driver. It is
// the whole queue loop of a device that answers each request before it takes the next. When the queue's worker is
// being stopped it returns before the next chain: a pause takes as long as one request, and buffers that overlay the
// ring cannot keep it running for ever. The start that follows begins with another HandleQueue.
func (q *Queue) Drain(handle func(*Chain) (written uint32)) error {
	for {
		q.DisableKicks()
		for {
			if q.kick.Interrupted() {
				return nil
			}
			chain, err := q.Pop()
			if err != nil {
				return err
			}
			if chain == nil {
				break
			}
			q.Push(chain, handle(chain))
			q.Notify()
		}
		if !q.EnableKicks() {
			return nil
		}
	}
}
