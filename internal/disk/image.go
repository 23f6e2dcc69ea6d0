package disk

import "errors"

// SectorSize is the unit of a disk's size and of every transfer, in bytes (virtio 1.2 §5.2.4).
const SectorSize = 512

// Image is an open disk image. All methods but Close may be called at the same time from several goroutines; a range
// that is read while it is being written holds any mixture of old and new. Offsets and lengths are in bytes; a range
// that is not wholly inside [0, Size) is an error and nothing is transferred.
type Image interface {
	// Name tells the user which image it is: the path it was opened by.
	Name() string

	// Size is the number of bytes of the disk, a multiple of SectorSize. It never changes.
	Size() int64

	// Stamp tells the content of now from others; see there.
	Stamp() (Stamp, error)

	// ReadOnly tells whether WriteAtv, Discard and WriteZeroes fail with ErrReadOnly.
	ReadOnly() bool

	// ReadAtv fills the buffers, one after the other, with what is at off. After an error their content is undefined.
	ReadAtv(segs [][]byte, off int64) error

	// TryReadAtv reads like ReadAtv if that can be done without waiting for storage, and tells whether it was: after
	// false, which it may always return, the content of the buffers is undefined.
	TryReadAtv(segs [][]byte, off int64) bool

	// WriteAtv writes the buffers, one after the other, at off. After an error any part may have been written. What was
	// written is durable after the next Flush.
	WriteAtv(segs [][]byte, off int64) error

	// Flush makes every write that returned before it durable.
	Flush() error

	// Discard gives the range's storage back; what it reads as afterwards is undefined. The error wraps
	// errors.ErrUnsupported where the storage cannot do that.
	Discard(off, n int64) error

	// WriteZeroes makes the range read as zeroes. With unmap set its storage may be given back as well.
	WriteZeroes(off, n int64, unmap bool) error

	// Close releases the image and its lock. No other method is running and none is called afterwards.
	Close() error
}

// Errors that callers tell apart.
var (
	ErrLocked   = errors.New("image is in use")
	ErrReadOnly = errors.New("image is read-only")
	ErrRange    = errors.New("range outside the image")
)

// Options say how an image is opened.
type Options struct {
	ReadOnly bool // open without the right to write; any number of VMs may do so at once
}
