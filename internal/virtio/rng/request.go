package rng

import (
	"io"

	"clone/internal/virtio"
)

// requestMax is how many bytes one request gets at most; the driver asks again (virtio 1.2 §5.4.6.2 lets the device
// use any part of the buffer). Linux asks for 64 bytes at a time.
const requestMax = 64 << 10

// fill writes random bytes to the chain's writable part and returns how many. Readable descriptors, which a driver
// must not send (virtio 1.2 §5.4.6.1), are not looked at.
func (d *Device) fill(c *virtio.Chain) (written uint32) {
	// The bytes are read straight into guest memory: nobody but this guest has ever seen them.
	for _, buf := range c.Writable.Slice(0, requestMax) {
		n, err := io.ReadFull(d.source, buf)
		written += uint32(n)
		if err != nil {
			return written
		}
	}
	return written
}
