package rng

import (
	"io"

	"clone/internal/virtio"
)

const queueSize = 64

// requestQueue is the index of the only queue (virtio 1.2 §5.4.2).
const requestQueue = 0

// Device is one entropy device.
type Device struct {
	source  io.Reader
	session *virtio.Session
}

var _ virtio.Device = (*Device)(nil)

// New returns an entropy device that reads from source: crypto/rand.Reader, outside tests. A source that fails makes
// requests end with fewer bytes than there was room for.
func New(source io.Reader) *Device { return &Device{source: source} }

// Spec is one queue and no feature (virtio 1.2 §5.4.3).
func (d *Device) Spec() virtio.Spec {
	return virtio.Spec{Type: virtio.TypeEntropy, QueueSizes: []uint16{queueSize}}
}

// ReadConfig reads zeros: there is no configuration space (virtio 1.2 §5.4.4).
func (d *Device) ReadConfig(_ uint32, p []byte) { clear(p) }

// WriteConfig does nothing.
func (d *Device) WriteConfig(uint32, []byte) {}

// Start keeps the session.
func (d *Device) Start(s *virtio.Session) error {
	d.session = s
	return nil
}

// HandleQueue answers every request.
func (d *Device) HandleQueue(int) {
	if err := d.session.Queues[requestQueue].Drain(d.fill); err != nil {
		d.session.Fail(err)
	}
}

// Stop forgets the session: no request outlives HandleQueue.
func (d *Device) Stop() { d.session = nil }
