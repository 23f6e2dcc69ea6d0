package agentproto

import (
	"encoding/binary"
	"errors"
	"io"
)

// ErrProtocol is the peer breaking a rule of the protocol. The connection is
// of no use afterwards.
var ErrProtocol = errors.New("agent protocol violated")

// ErrTooLarge is a message that does not fit its frame.
var ErrTooLarge = errors.New("message too large for the agent protocol (arguments and environment are limited to 1 MiB, everything else to 64 KiB)")

// violation names the rule that was broken; it is ErrProtocol.
type violation string

func (v violation) Error() string   { return "agent protocol violated: " + string(v) }
func (violation) Is(err error) bool { return err == ErrProtocol }

// Violation returns an error that is ErrProtocol and names the broken rule.
func Violation(rule string) error { return violation(rule) }

// Header is the head of a frame.
type Header struct {
	Length uint32 // of the payload, in bytes
	Type   Type
	Flags  Flags
	ID     uint32 // request id
}

// ParseHeader validates the head of a frame.
func ParseHeader(b *[HeaderSize]byte) (Header, error) {
	h := Header{
		Length: binary.LittleEndian.Uint32(b[0:]),
		Type:   Type(b[4]),
		Flags:  Flags(b[5]),
		ID:     binary.LittleEndian.Uint32(b[8:]),
	}
	switch {
	case b[6] != 0 || b[7] != 0:
		return Header{}, violation("reserved bytes set")
	case h.Length > h.Type.maxPayload():
		return Header{}, violation("frame too long")
	case !h.Flags.valid(h.Type):
		return Header{}, violation("unknown flags")
	case h.ID == 0:
		return Header{}, violation("request id 0")
	}
	return h, nil
}

// Put writes the head of a frame to the first HeaderSize bytes of b.
func (h Header) Put(b []byte) {
	_ = b[HeaderSize-1]
	binary.LittleEndian.PutUint32(b[0:], h.Length)
	b[4], b[5], b[6], b[7] = byte(h.Type), byte(h.Flags), 0, 0
	binary.LittleEndian.PutUint32(b[8:], h.ID)
}

// Reader reads frames from a connection. It is not safe for concurrent use.
type Reader struct {
	r    io.Reader
	head [HeaderSize]byte
	buf  []byte
}

// NewReader returns a Reader of the frames in r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// keep is the largest payload whose buffer stays with the Reader: a connection
// that carries small messages touches one page.
const keep = 4 << 10

// Next reads one frame. The payload is valid until the next call. The error is
// io.EOF only between frames.
func (r *Reader) Next() (Header, []byte, error) {
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return Header{}, nil, err
	}
	h, err := ParseHeader(&r.head)
	if err != nil {
		return Header{}, nil, err
	}
	payload := r.payload(int(h.Length))
	if _, err := io.ReadFull(r.r, payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Header{}, nil, err
	}
	return h, payload, nil
}

// payload returns a buffer of n bytes. It grows in two steps only: a page for
// control messages, then room for the longest Data frame; an Exec beyond that
// gets a buffer of its own, which is not kept.
func (r *Reader) payload(n int) []byte {
	if n > MaxData {
		return make([]byte, n)
	}
	if n > cap(r.buf) {
		size := keep
		if n > keep {
			size = MaxData
		}
		r.buf = make([]byte, size)
	}
	return r.buf[:n]
}

// AppendFrame appends a whole frame holding m to b.
func AppendFrame(b []byte, id uint32, m Message) ([]byte, error) {
	start := len(b)
	b = append(b, make([]byte, HeaderSize)...)
	b = m.append(b)
	n := len(b) - start - HeaderSize
	if uint64(n) > uint64(m.Type().maxPayload()) {
		return b[:start], ErrTooLarge
	}
	Header{Length: uint32(n), Type: m.Type(), ID: id}.Put(b[start:])
	return b, nil
}

// PutData makes buf a Data frame: the caller left HeaderSize bytes free in front
// of at most MaxData bytes of data. One buffer and one write per frame.
func PutData(buf []byte, id uint32, s Stream, end bool) {
	f := Flags(s)
	if end {
		f |= FlagEnd
	}
	Header{Length: uint32(len(buf) - HeaderSize), Type: TypeData, Flags: f, ID: id}.Put(buf)
}
