package agentproto

// Message is the content of a frame that is not Data.
type Message interface {
	// Type is the frame type that carries the message.
	Type() Type
	append(b []byte) []byte
}

// Capability bits: what an agent can do beyond the messages of version 1.
const (
	CapTTY        uint64 = 1 << iota // Exec with a terminal
	CapIdentity                      // Identity
	CapClock                         // ClockGet and ClockAdjust
	CapBind                          // Bind
	CapFileCopy                      // CopyIn and CopyOut
	CapStatistics                    // Stats
	CapCompare                       // ClockCompare
)

// Hello opens a connection, from each side.
type Hello struct {
	Version      uint16 // newest protocol version spoken
	MinVersion   uint16 // oldest protocol version spoken
	Capabilities uint64 // Cap bits; 0 from the host
	Program      string // name and version of the sender, at most 128 bytes
}

// Type implements Message.
func (Hello) Type() Type { return TypeHello }

func (m Hello) append(b []byte) []byte {
	b = le.AppendUint16(b, m.Version)
	b = le.AppendUint16(b, m.MinVersion)
	b = le.AppendUint64(b, m.Capabilities)
	return appendString(b, m.Program)
}

func decodeHello(p []byte) (Hello, error) {
	d := decoder{b: p}
	m := Hello{Version: d.u16(), MinVersion: d.u16(), Capabilities: d.u64(), Program: d.text(128)}
	return m, d.done("hello")
}

// Agree returns the protocol version that both ends speak.
func Agree(a, b Hello) (version uint16, ok bool) {
	version = min(a.Version, b.Version)
	return version, version >= a.MinVersion && version >= b.MinVersion
}

// OK is the final reply of a request that has nothing else to say.
type OK struct{}

// Type implements Message.
func (OK) Type() Type { return TypeOK }

func (OK) append(b []byte) []byte { return b }

// Cancel gives a request up: a command is hung up (SIGHUP, then SIGKILL), a
// copy is abandoned. The final reply still comes.
type Cancel struct{}

// Type implements Message.
func (Cancel) Type() Type { return TypeCancel }

func (Cancel) append(b []byte) []byte { return b }

// Credit allows the peer to send Bytes more on Stream.
type Credit struct {
	Stream Stream
	Bytes  uint32
}

// Type implements Message.
func (Credit) Type() Type { return TypeCredit }

func (m Credit) append(b []byte) []byte {
	return le.AppendUint32(append(b, byte(m.Stream)), m.Bytes)
}

func decodeCredit(p []byte) (Credit, error) {
	d := decoder{b: p}
	m := Credit{Stream: Stream(d.u8()), Bytes: d.u32()}
	d.bad = d.bad || m.Stream >= Streams || m.Bytes == 0 || m.Bytes > Window
	return m, d.done("credit")
}
