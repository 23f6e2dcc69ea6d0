package blk

import (
	"encoding/binary"
	"fmt"
	"sync"

	"clone/internal/virtio"
)

// Device feature bits (virtio 1.2 §5.2.3).
const (
	featureSizeMax     = 1 << 1
	featureSegMax      = 1 << 2
	featureRO          = 1 << 5
	featureBlkSize     = 1 << 6
	featureFlush       = 1 << 9
	featureDiscard     = 1 << 13
	featureWriteZeroes = 1 << 14
)

// Limits that the configuration space tells the driver; parse refuses what is beyond them, so that no request keeps
// the device, and with it a pause of the VM, busy for long.
const (
	sectorSize = 512
	queueSize  = 256

	segMax  = queueSize - 2 // data buffers in a request, beside header and status
	sizeMax = 1 << 20       // bytes in one of them

	maxDiscardSegments    = 32
	maxDiscardSectors     = 1 << 21 // 1 GiB: one fallocate call
	maxWriteZeroesSectors = 1 << 17 // 64 MiB: may have to be written
)

const (
	configSize = 60 // struct virtio_blk_config up to write_zeroes_may_unmap, padded (§5.2.4)
	idSize     = 20 // VIRTIO_BLK_ID_BYTES

	maxInFlight = 8         // requests that wait for the host at the same time, a thread each
	maxInline   = 128 << 10 // bytes of a read that HandleQueue copies itself
)

// Image is what the device needs of a disk; offsets and lengths are in bytes. All methods are called from several
// goroutines at once. disk.Image is one.
type Image interface {
	Name() string   // for messages to the user
	Size() int64    // constant, a multiple of 512
	ReadOnly() bool // constant
	ReadAtv(segs [][]byte, off int64) error
	TryReadAtv(segs [][]byte, off int64) bool // ReadAtv if that needs no waiting; false: not read
	WriteAtv(segs [][]byte, off int64) error
	Flush() error
	Discard(off, n int64) error // errors.ErrUnsupported where the storage cannot
	WriteZeroes(off, n int64, unmap bool) error
}

// Config says what the device is made of.
type Config struct {
	Image  Image  // stays the caller's, who closes it after the device is stopped for good
	Serial string // what the guest reads as the disk's serial; cut after 20 bytes

	// OnError, when set, is told of the first request that failed for a reason of the host's, such as a full file
	// system. The guest has its I/O error in any case. It is called once, from any goroutine, and must not block.
	OnError func(error)
}

// Device is one virtio block device with one request queue.
type Device struct {
	image    Image
	geometry geometry
	config   [configSize]byte
	id       [idSize]byte

	onError  func(error)
	reported sync.Once

	session *virtio.Session

	mu       sync.Mutex     // guards the queue: chains are pushed by the goroutines that executed them
	slots    chan struct{}  // one element for each request in flight
	inFlight sync.WaitGroup // the same, to join them
}

var _ virtio.Device = (*Device)(nil)

// New returns a device in reset over the image.
func New(c Config) *Device {
	d := &Device{
		image:    c.Image,
		geometry: geometry{size: c.Image.Size() / sectorSize * sectorSize, readOnly: c.Image.ReadOnly()},
		onError:  c.OnError,
		slots:    make(chan struct{}, maxInFlight),
	}
	copy(d.id[:], c.Serial)
	d.fillConfig()
	return d
}

// fillConfig lays out struct virtio_blk_config (§5.2.4). Geometry, topology, the writeback switch and the number of
// queues are of features not offered, and read as zero.
func (d *Device) fillConfig() {
	le := binary.LittleEndian
	le.PutUint64(d.config[0:], uint64(d.geometry.size/sectorSize)) // capacity
	le.PutUint32(d.config[8:], sizeMax)                            // size_max
	le.PutUint32(d.config[12:], segMax)                            // seg_max
	le.PutUint32(d.config[20:], sectorSize)                        // blk_size
	if d.geometry.readOnly {
		return
	}
	le.PutUint32(d.config[36:], maxDiscardSectors)     // max_discard_sectors
	le.PutUint32(d.config[40:], maxDiscardSegments)    // max_discard_seg
	le.PutUint32(d.config[44:], 4096/sectorSize)       // discard_sector_alignment: a page of the host's file
	le.PutUint32(d.config[48:], maxWriteZeroesSectors) // max_write_zeroes_sectors
	le.PutUint32(d.config[52:], 1)                     // max_write_zeroes_seg
	d.config[56] = 1                                   // write_zeroes_may_unmap
}

// Spec offers one queue. Multi-queue is left out: requests of one queue execute side by side already.
func (d *Device) Spec() virtio.Spec {
	s := virtio.Spec{
		Type:       virtio.TypeBlock,
		Features:   featureSizeMax | featureSegMax | featureBlkSize | featureFlush,
		QueueSizes: []uint16{queueSize},
	}
	if d.geometry.readOnly {
		s.Features |= featureRO
	} else {
		s.Features |= featureDiscard | featureWriteZeroes
	}
	return s
}

func (d *Device) ReadConfig(offset uint32, p []byte) {
	clear(p)
	if offset < configSize {
		copy(p, d.config[offset:])
	}
}

// WriteConfig ignores everything: the one writable field, writeback, belongs to VIRTIO_BLK_F_CONFIG_WCE, not offered.
func (d *Device) WriteConfig(uint32, []byte) {}

func (d *Device) Start(s *virtio.Session) error {
	if len(s.Queues) != 1 {
		return fmt.Errorf("block device with %d queues instead of 1", len(s.Queues))
	}
	d.session = s
	return nil
}

// HandleQueue takes every request that is available: it answers at once what needs no waiting and leaves the rest to
// goroutines, waiting itself while maxInFlight of them are busy.
func (d *Device) HandleQueue(int) {
	for {
		chain, r, err := d.next()
		if err != nil {
			d.session.Fail(fmt.Errorf("disk %s: %w", d.image.Name(), err))
			return
		}
		if chain == nil {
			return
		}
		if status, done := d.answer(&r); done {
			d.finish(chain, &r, status)
			continue
		}
		d.slots <- struct{}{}
		d.inFlight.Go(func() {
			d.finish(chain, &r, d.execute(&r))
			<-d.slots
		})
	}
}

// next pops and parses a request; the chain is nil when there is none. One that cannot even be answered goes straight
// back.
func (d *Device) next() (*virtio.Chain, request, error) {
	chain, err := d.pop()
	if chain == nil || err != nil {
		return nil, request{}, err
	}
	r, err := parse(chain, d.geometry)
	if err != nil {
		d.push(chain, 0)
	}
	return chain, r, err
}

// pop returns the next chain; nil once the driver will notify of the next one, or when the worker is to come back
// because of a pause: what is available then waits in the ring.
func (d *Device) pop() (*virtio.Chain, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.session.Queues[0]
	q.DisableKicks()
	for !q.Kick().Interrupted() {
		chain, err := q.Pop()
		if chain != nil || err != nil {
			return chain, err
		}
		if !q.EnableKicks() {
			break
		}
	}
	return nil, nil
}

// finish answers a request.
func (d *Device) finish(chain *virtio.Chain, r *request, status byte) {
	r.status[0] = status
	d.push(chain, r.written)
}

func (d *Device) push(chain *virtio.Chain, written uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.session.Queues[0]
	q.Push(chain, written)
	q.Notify()
}

// Stop waits for the requests in flight.
func (d *Device) Stop() { d.inFlight.Wait() }

// Busy is that of virtio.Busy.
func (d *Device) Busy() bool { return len(d.slots) > 0 }
