package agentproto

// Port is the AF_VSOCK port on which the agent listens.
const Port = 1024

// Protocol versions. Each end states the newest version it speaks; the
// connection uses the smaller of the two, if both can.
const (
	Version    = 1 // newest version this code speaks
	MinVersion = 1 // oldest version this code speaks
)

// Limits, in bytes.
const (
	HeaderSize = 12        // frame header
	MaxData    = 64 << 10  // payload of any frame but Exec
	MaxExec    = 1 << 20   // payload of Exec: arguments and environment
	Window     = 256 << 10 // initial credit of each stream
)

// Type says what a frame's payload is. Requests are below 0x40, replies from
// 0x80, what runs in both directions is between.
type Type uint8

// Frame types.
const (
	TypeHello       Type = 0x01 // also its own reply
	TypeExec        Type = 0x02
	TypeSignal      Type = 0x03
	TypeResize      Type = 0x04
	TypeCancel      Type = 0x05
	TypeCopyIn      Type = 0x06
	TypeCopyOut     Type = 0x07
	TypeIdentity    Type = 0x08
	TypeClockGet    Type = 0x09
	TypeClockAdjust Type = 0x0a
	TypeEntropy     Type = 0x0b
	TypeSync        Type = 0x0c
	TypeShutdown    Type = 0x0d
	TypeBind        Type = 0x0e
	TypeStats       Type = 0x0f
	TypeCompare     Type = 0x10

	TypeData   Type = 0x40
	TypeCredit Type = 0x41

	TypeOK         Type = 0x80
	TypeError      Type = 0x81
	TypeExit       Type = 0x82
	TypeFileInfo   Type = 0x83
	TypeAck        Type = 0x84
	TypeClock      Type = 0x85
	TypeStatsReply Type = 0x86
	TypeComparison Type = 0x87
)

// Request tells whether the type is in the range of requests, known or not.
func (t Type) Request() bool { return t > 0 && t < 0x40 }

// maxPayload is the bound on a frame of type t, in bytes.
func (t Type) maxPayload() uint32 {
	if t == TypeExec {
		return MaxExec
	}
	return MaxData
}

// Flags of a frame. Only Data frames have any.
type Flags uint8

// FlagEnd marks the last Data frame of a stream; it may be empty.
const FlagEnd Flags = 0x80

// Stream is one of the byte streams of a request, in the low bits of Flags.
type Stream uint8

// Streams. CopyIn uses Stdin, CopyOut Stdout. With a terminal, output is all
// Stdout.
const (
	Stdin  Stream = 0
	Stdout Stream = 1
	Stderr Stream = 2

	// Streams is the number of streams.
	Streams = 3
)

// Stream is the stream that the flags of a Data frame name.
func (f Flags) Stream() Stream { return Stream(f &^ FlagEnd) }

// End tells whether this Data frame is the last of its stream.
func (f Flags) End() bool { return f&FlagEnd != 0 }

// valid tells whether flags may stand on a frame of type t.
func (f Flags) valid(t Type) bool {
	if t == TypeData {
		return f.Stream() < Streams
	}
	return f == 0
}
