package virtio

import (
	"clone/internal/guestmem"
)

// Device types (virtio 1.2 §5).
const (
	TypeNet     = 1
	TypeBlock   = 2
	TypeEntropy = 4
	TypeBalloon = 5
	TypeVsock   = 19
	TypeFS      = 26
)

// Feature bits that belong to the ring and the transport (virtio 1.2 §6).
const (
	FeatureIndirectDesc = 1 << 28 // VIRTIO_F_INDIRECT_DESC
	FeatureEventIdx     = 1 << 29 // VIRTIO_F_EVENT_IDX
	FeatureVersion1     = 1 << 32 // VIRTIO_F_VERSION_1

	// RingFeatures are offered by the transport for every device; a device's own Spec leaves them out.
	RingFeatures = FeatureIndirectDesc | FeatureEventIdx | FeatureVersion1
)

// QueueSizeMax is the largest queue any device of ours has.
const QueueSizeMax = 1024

// Spec is what never changes about a device.
type Spec struct {
	Type       uint32   // virtio device ID
	Features   uint64   // device-specific feature bits offered
	QueueSizes []uint16 // maximum size of each queue, a power of two up to QueueSizeMax
}

// Device is the model of one virtio device, without a transport.
type Device interface {
	// Spec is constant over the life of the device.
	Spec() Spec

	// ReadConfig fills p from the device configuration space at offset; what is beyond its end reads as zero.
	// It is called from vCPU threads, at any time.
	ReadConfig(offset uint32, p []byte)

	// WriteConfig is the driver's write of p to the configuration space; what is not writable is ignored.
	WriteConfig(offset uint32, p []byte)

	// Start hands over the negotiated session. The device owns it until Stop. An error makes the device NEEDS_RESET.
	Start(s *Session) error

	// HandleQueue is called on queue i's own goroutine after the driver notified it, and once after Start.
	HandleQueue(i int)

	// Stop returns when no goroutine of the device touches guest memory any more and every popped chain was pushed.
	// HandleQueue is not running and will not be called. It is called once for each Start that returned nil.
	Stop()

	// Save returns the device's own state (rings and features are the transport's). Only called while stopped.
	Save() ([]byte, error)

	// Load takes what Save returned, from a file that may be damaged: it is checked in full. Only called in reset.
	Load(state []byte) error
}

// Busy is a device whose requests take as long as the host lets them.
type Busy interface {
	// Busy tells whether one is in flight, which Stop would wait for. It is called from any goroutine, at any time.
	Busy() bool
}

// Session is one driver's use of a device: from DRIVER_OK until reset, or the part of that between two pauses.
type Session struct {
	Features uint64           // negotiated feature bits
	Memory   *guestmem.Memory // guest RAM
	Queues   []*Queue         // one for each of Spec.QueueSizes; one the driver left disabled has Ready() false
	Resumed  bool             // the driver's session goes on (after a pause or a restore); false for a new one

	// Fail marks the device DEVICE_NEEDS_RESET and tells the driver. Safe from any goroutine.
	Fail func(err error)
	// ConfigChanged raises the configuration change notification. Safe from any goroutine.
	ConfigChanged func()
}

// Has tells whether a feature bit (or all bits of a mask) was negotiated.
func (s *Session) Has(feature uint64) bool { return s.Features&feature == feature }
