package virtiotest

import (
	"errors"
	"sync"
	"sync/atomic"

	"clone/internal/virtio"
)

// Echo is the smallest device with two queues: each chain's writable part gets a copy of its readable part. Its
// configuration space is eight bytes that the driver can write, and that are its whole state.
type Echo struct {
	session atomic.Pointer[virtio.Session]

	mu     sync.Mutex
	config [8]byte
}

// EchoType is the device ID of an Echo: one that virtio does not use.
const EchoType = 0x3fff

// NewEcho returns an Echo.
func NewEcho() *Echo { return &Echo{} }

// Spec is two queues, of 16 and 8 entries, and one feature bit.
func (e *Echo) Spec() virtio.Spec {
	return virtio.Spec{Type: EchoType, Features: 1, QueueSizes: []uint16{16, 8}}
}

// ReadConfig reads the eight bytes.
func (e *Echo) ReadConfig(offset uint32, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if clear(p); offset < uint32(len(e.config)) {
		copy(p, e.config[offset:])
	}
}

// WriteConfig writes the eight bytes.
func (e *Echo) WriteConfig(offset uint32, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if offset < uint32(len(e.config)) {
		copy(e.config[offset:], p)
	}
}

// Start keeps the session.
func (e *Echo) Start(s *virtio.Session) error {
	e.session.Store(s)
	return nil
}

// HandleQueue answers every chain.
func (e *Echo) HandleQueue(i int) {
	s := e.session.Load()
	if err := s.Queues[i].Drain(echo); err != nil {
		s.Fail(err)
	}
}

// echoMax is how many bytes of a chain are answered: the driver must not decide how long a request takes.
const echoMax = 64 << 10

// echo copies in pieces, so that no chain's length makes an allocation.
func echo(c *virtio.Chain) (written uint32) {
	var piece [4096]byte
	for written < echoMax {
		n := c.Readable.CopyTo(piece[:], int(written))
		n = c.Writable.CopyFrom(piece[:n], int(written))
		if n == 0 {
			return written
		}
		written += uint32(n)
	}
	return written
}

// Stop forgets the session.
func (e *Echo) Stop() { e.session.Store(nil) }

// Save returns the configuration space.
func (e *Echo) Save() ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]byte{}, e.config[:]...), nil
}

// Load takes back the configuration space.
func (e *Echo) Load(state []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(state) != len(e.config) {
		return errors.New("echo state is not eight bytes")
	}
	copy(e.config[:], state)
	return nil
}
