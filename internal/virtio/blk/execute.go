package blk

import "errors"

// answer does what needs no waiting for the host and tells whether that was all: handing a request to a goroutine
// takes longer than reading a page out of the host's cache.
func (d *Device) answer(r *request) (status byte, done bool) {
	if r.refuse != statusOK {
		return r.refuse, true
	}
	switch r.kind {
	case typeGetID:
		r.data.CopyFrom(d.id[:], 0)
		return statusOK, true
	case typeIn:
		return statusOK, r.data.Len() <= maxInline && d.image.TryReadAtv(r.data, r.offset)
	}
	return 0, false
}

// execute does what the request asks of the image and returns its status.
func (d *Device) execute(r *request) byte {
	var err error
	switch r.kind {
	case typeIn:
		err = d.image.ReadAtv(r.data, r.offset)
	case typeOut:
		err = d.stable(d.image.WriteAtv(r.data, r.offset))
	case typeFlush:
		err = d.image.Flush()
	case typeDiscard:
		for _, b := range r.ranges {
			err = errors.Join(err, d.image.Discard(b.offset, b.length))
		}
	case typeWriteZeroes:
		for _, b := range r.ranges {
			err = errors.Join(err, d.image.WriteZeroes(b.offset, b.length, b.unmap))
		}
		err = d.stable(err)
	}
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, errors.ErrUnsupported):
		return statusUnsupp
	}
	if d.onError != nil {
		d.reported.Do(func() { d.onError(err) })
	}
	return statusIOErr
}

// stable flushes after a write that succeeded, for a driver that cannot: without VIRTIO_BLK_F_FLUSH a completed write
// is a durable one (virtio 1.2 §5.2.6.2).
func (d *Device) stable(err error) error {
	if err == nil && !d.session.Has(featureFlush) {
		err = d.image.Flush()
	}
	return err
}
