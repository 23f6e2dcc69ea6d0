package inside

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// PortName is the name of the virtio-serial port that carries all frames, in
// both directions. One port keeps them in order, so that a status that has
// arrived means that all output has.
const PortName = "testhost"

// PortNumber is the port's number; port 0 is reserved for consoles.
const PortNumber = 1

// A Kind says what a frame carries.
type Kind byte

const (
	Stdin  Kind = 1 + iota // to the command; an empty frame is the end
	Stdout                 // from the command
	Stderr                 // from the command
	Result                 // a Status as JSON, the last frame
	Alive                  // from both sides now and then, see SendAlive; empty
)

// A frame is a Kind, the payload's length as 4 bytes, little-endian, and the
// payload.
const (
	headerSize = 5
	maxPayload = 32<<10 - headerSize // a frame fits the 32 KiB that virtio-serial moves at once
)

// A FrameWriter writes frames; several goroutines may share it.
type FrameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// NewFrameWriter returns a FrameWriter on w.
func NewFrameWriter(w io.Writer) *FrameWriter { return &FrameWriter{w: w} }

// Write sends payload in as many frames as it takes; one if it is empty.
func (f *FrameWriter) Write(kind Kind, payload []byte) error {
	for {
		part := payload[:min(len(payload), maxPayload)]
		payload = payload[len(part):]
		frame := make([]byte, 0, headerSize+len(part))
		frame = append(frame, byte(kind))
		frame = binary.LittleEndian.AppendUint32(frame, uint32(len(part)))
		frame = append(frame, part...)
		f.mu.Lock()
		_, err := f.w.Write(frame)
		f.mu.Unlock()
		if err != nil || len(payload) == 0 {
			return err
		}
	}
}

// Copy sends what r has, as it comes, until r ends. It sends no empty frame.
func (f *FrameWriter) Copy(kind Kind, r io.Reader) error {
	buf := make([]byte, maxPayload)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := f.Write(kind, buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// ReadFrame reads one frame. It returns io.EOF where r ends between two frames.
func ReadFrame(r io.Reader) (Kind, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	kind, size := Kind(header[0]), binary.LittleEndian.Uint32(header[1:])
	if kind < Stdin || kind > Alive || size > maxPayload {
		return 0, nil, fmt.Errorf("no frame: kind %d, %d bytes", kind, size)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return kind, payload, nil
}
