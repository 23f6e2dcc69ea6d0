package blk

import (
	"encoding/binary"
	"errors"
	"math"

	"clone/internal/virtio"
)

// Request types (virtio 1.2 §5.2.6).
const (
	typeIn          = 0
	typeOut         = 1
	typeFlush       = 4
	typeGetID       = 8
	typeDiscard     = 11
	typeWriteZeroes = 13
)

// Request status (§5.2.6).
const (
	statusOK     = 0
	statusIOErr  = 1
	statusUnsupp = 2
)

const (
	headerSize  = 16 // le32 type, le32 reserved, le64 sector
	rangeSize   = 16 // le64 sector, le32 num_sectors, le32 flags: struct virtio_blk_discard_write_zeroes
	maxDataSize = segMax * sizeMax

	flagUnmap = 1 // of a range
)

var errNoStatus = errors.New("block request without room for its status")

// geometry is what parse knows of the disk.
type geometry struct {
	size     int64 // bytes, a multiple of sectorSize
	readOnly bool
}

// request is a chain that was checked: what is in it can be executed without a further look at the chain.
type request struct {
	kind   uint32 // typeIn and so on
	refuse byte   // statusOK, or the status to answer with instead of executing anything

	offset int64           // bytes; of typeIn and typeOut
	data   virtio.Segments // guest memory to fill (typeIn, typeGetID) or to write from (typeOut)
	ranges []byteRange     // of typeDiscard and typeWriteZeroes

	status  []byte // the one byte of guest memory for the status
	written uint32 // length for the used ring
}

// byteRange is one range of a discard or write zeroes request.
type byteRange struct {
	offset, length int64 // bytes, inside the disk
	unmap          bool
}

// parse finds header, data and status in a chain, wherever descriptors begin and end: the header is the first 16
// bytes the device reads, the status the last byte it writes. It is an error only if there is no such byte.
func parse(c *virtio.Chain, g geometry) (request, error) {
	writable := c.Writable.Len()
	if writable == 0 {
		return request{}, errNoStatus
	}
	r := request{
		status: c.Writable.Slice(writable-1, 1)[0],
		// The status is the last byte, so a used length that covers it covers everything; of a request that failed
		// the driver uses the status alone.
		written: uint32(min(writable, math.MaxUint32)),
	}
	var header [headerSize]byte
	if c.Readable.CopyTo(header[:], 0) < headerSize {
		r.refuse = statusIOErr
		return r, nil
	}
	r.kind = binary.LittleEndian.Uint32(header[0:])
	sector := binary.LittleEndian.Uint64(header[8:])
	in, out := writable-1, c.Readable.Len()-headerSize

	switch r.kind {
	case typeIn:
		if r.refuse = g.checkTransfer(sector, in); r.refuse == statusOK {
			r.offset, r.data = int64(sector*sectorSize), c.Writable.Slice(0, in)
		}
	case typeOut:
		if g.readOnly {
			r.refuse = statusIOErr
		} else if r.refuse = g.checkTransfer(sector, out); r.refuse == statusOK {
			r.offset, r.data = int64(sector*sectorSize), c.Readable.Slice(headerSize, out)
		}
	case typeFlush:
	case typeGetID:
		r.data = c.Writable.Slice(0, min(in, idSize))
	case typeDiscard, typeWriteZeroes:
		if g.readOnly {
			r.refuse = statusIOErr
		} else {
			r.ranges, r.refuse = g.parseRanges(r.kind, c.Readable.Slice(headerSize, out))
		}
	default:
		r.refuse = statusUnsupp
	}
	return r, nil
}

// checkTransfer checks n bytes at a sector against the disk and against what one request may be.
func (g geometry) checkTransfer(sector uint64, n int) byte {
	if n%sectorSize != 0 || n > maxDataSize || !g.holds(sector, uint64(n)/sectorSize) {
		return statusIOErr
	}
	return statusOK
}

// holds tells whether count sectors from the given one on are inside the disk.
func (g geometry) holds(sector, count uint64) bool {
	sectors := uint64(g.size / sectorSize)
	return count <= sectors && sector <= sectors-count
}

// parseRanges copies the ranges of a discard or write zeroes request and checks each; one that is wrong refuses all.
func (g geometry) parseRanges(kind uint32, data virtio.Segments) ([]byteRange, byte) {
	maxSegments, maxSectors, flags := maxDiscardSegments, uint32(maxDiscardSectors), uint32(0)
	if kind == typeWriteZeroes {
		maxSegments, maxSectors, flags = 1, maxWriteZeroesSectors, flagUnmap
	}
	n := data.Len()
	if n == 0 || n%rangeSize != 0 || n > maxSegments*rangeSize {
		return nil, statusIOErr
	}
	raw := make([]byte, n)
	data.CopyTo(raw, 0)
	ranges := make([]byteRange, 0, n/rangeSize)
	for ; len(raw) > 0; raw = raw[rangeSize:] {
		sector := binary.LittleEndian.Uint64(raw[0:])
		count := binary.LittleEndian.Uint32(raw[8:])
		set := binary.LittleEndian.Uint32(raw[12:])
		if set&^flags != 0 {
			return nil, statusUnsupp // unknown flags, and unmap in a discard (§5.2.6.2)
		}
		if count > maxSectors || !g.holds(sector, uint64(count)) {
			return nil, statusIOErr
		}
		ranges = append(ranges, byteRange{
			offset: int64(sector) * sectorSize, length: int64(count) * sectorSize, unmap: set&flagUnmap != 0,
		})
	}
	return ranges, statusOK
}
