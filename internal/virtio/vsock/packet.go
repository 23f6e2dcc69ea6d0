package vsock

import (
	"encoding/binary"

	"clone/internal/virtio"
)

// HostCID is the host's address, VMADDR_CID_HOST (virtio 1.2 §5.10.4).
const HostCID = 2

// typeStream is VIRTIO_VSOCK_TYPE_STREAM, the only socket type of this device (virtio 1.2 §5.10.6).
const typeStream = 1

// Operations, VIRTIO_VSOCK_OP_* (virtio 1.2 §5.10.6).
const (
	opRequest       = 1
	opResponse      = 2
	opReset         = 3
	opShutdown      = 4
	opData          = 5 // VIRTIO_VSOCK_OP_RW
	opCreditUpdate  = 6
	opCreditRequest = 7
)

// Flags of opShutdown, VIRTIO_VSOCK_SHUTDOWN_F_*: what the sender will not do any more.
const (
	shutReceive = 1
	shutSend    = 2
	shutBoth    = shutReceive | shutSend
)

// headerSize is the size of struct virtio_vsock_hdr in bytes.
const headerSize = 44

// header is struct virtio_vsock_hdr (virtio 1.2 §5.10.6).
type header struct {
	srcCID, dstCID   uint64
	srcPort, dstPort uint32
	length           uint32 // bytes of payload after the header
	kind             uint16 // socket type
	op               uint16
	flags            uint32
	bufAlloc         uint32 // sender's receive buffer space, bytes
	fwdCnt           uint32 // bytes the sender's user took out of it so far, modulo 2³²
}

func parseHeader(b *[headerSize]byte) header {
	le := binary.LittleEndian
	return header{
		srcCID: le.Uint64(b[0:]), dstCID: le.Uint64(b[8:]),
		srcPort: le.Uint32(b[16:]), dstPort: le.Uint32(b[20:]),
		length: le.Uint32(b[24:]), kind: le.Uint16(b[28:]), op: le.Uint16(b[30:]),
		flags: le.Uint32(b[32:]), bufAlloc: le.Uint32(b[36:]), fwdCnt: le.Uint32(b[40:]),
	}
}

func (h header) encode() (b [headerSize]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[0:], h.srcCID)
	le.PutUint64(b[8:], h.dstCID)
	le.PutUint32(b[16:], h.srcPort)
	le.PutUint32(b[20:], h.dstPort)
	le.PutUint32(b[24:], h.length)
	le.PutUint16(b[28:], h.kind)
	le.PutUint16(b[30:], h.op)
	le.PutUint32(b[32:], h.flags)
	le.PutUint32(b[36:], h.bufAlloc)
	le.PutUint32(b[40:], h.fwdCnt)
	return b
}

// packet is one packet from the guest: a copied header, and the payload where it lies in guest memory.
type packet struct {
	header
	payload   virtio.Segments // at most header.length bytes
	truncated bool            // the buffers end before header.length
}

// parsePacket takes the driver's part of a tx chain apart; ok is false when it has no room for a header.
func parsePacket(s virtio.Segments) (p packet, ok bool) {
	var b [headerSize]byte
	if s.CopyTo(b[:], 0) < headerSize {
		return packet{}, false
	}
	p.header = parseHeader(&b)
	p.payload = s.Slice(headerSize, int(p.length))
	p.truncated = p.payload.Len() != int(p.length)
	return p, true
}

// resetFor is the RST that answers a packet of no connection; its addresses are the packet's, turned round.
func resetFor(h header) header {
	return header{
		srcCID: h.dstCID, dstCID: h.srcCID, srcPort: h.dstPort, dstPort: h.srcPort,
		kind: h.kind, op: opReset,
	}
}
