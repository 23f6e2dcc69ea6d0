package agentproto

// Entropy is mixed into the guest's random number generator, credited, and the
// generator reseeded from it.
type Entropy struct{ Seed []byte } // 16 to 512 bytes

// Type implements Message.
func (Entropy) Type() Type { return TypeEntropy }

func (m Entropy) append(b []byte) []byte { return append(b, m.Seed...) }

func decodeEntropy(p []byte) (Entropy, error) {
	if len(p) < 16 || len(p) > 512 {
		return Entropy{}, violation("malformed entropy")
	}
	return Entropy{Seed: append([]byte(nil), p...)}, nil
}

// Sync writes the guest's file systems back, sync(2).
type Sync struct{}

// Type implements Message.
func (Sync) Type() Type { return TypeSync }

func (Sync) append(b []byte) []byte { return b }

// ShutdownMode says how a machine ends.
type ShutdownMode uint8

// Shutdown modes.
const (
	PowerOff ShutdownMode = iota
	Reboot

	shutdownModes
)

// Shutdown ends the machine. The reply comes when the shutdown has begun.
type Shutdown struct {
	Mode ShutdownMode
	// Force asks nobody: file systems are synced and the machine is off.
	Force bool
}

// Type implements Message.
func (Shutdown) Type() Type { return TypeShutdown }

func (m Shutdown) append(b []byte) []byte { return appendBool(append(b, byte(m.Mode)), m.Force) }

func decodeShutdown(p []byte) (Shutdown, error) {
	d := decoder{b: p}
	m := Shutdown{Mode: ShutdownMode(d.u8()), Force: d.bool()}
	d.bad = d.bad || m.Mode >= shutdownModes
	return m, d.done("shutdown")
}

// VirtioMMIO is the only driver that Bind may name.
const VirtioMMIO = "virtio-mmio"

// Bind gives a platform device to a driver: a device slot that was empty in the
// template and is filled in the fork.
type Bind struct {
	Driver string // VirtioMMIO
	Device string // name in /sys/bus/platform/devices, such as LNRO0005:03
}

// Type implements Message.
func (Bind) Type() Type { return TypeBind }

func (m Bind) append(b []byte) []byte { return appendString(appendString(b, m.Driver), m.Device) }

func decodeBind(p []byte) (Bind, error) {
	d := decoder{b: p}
	m := Bind{Driver: d.str(64), Device: d.str(64)}
	d.bad = d.bad || m.Driver != VirtioMMIO || !ValidDevice(m.Device)
	return m, d.done("bind")
}

// ValidDevice tells whether s can be the name of a platform device: no path.
func ValidDevice(s string) bool {
	if len(s) == 0 || len(s) > 64 || s[0] == '.' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == ':' || c == '.' || c == '-' || c == '_':
		default:
			return false
		}
	}
	return true
}

// Stats asks how the guest is.
type Stats struct{}

// Type implements Message.
func (Stats) Type() Type { return TypeStats }

func (Stats) append(b []byte) []byte { return b }

// StatsReply is how the guest is, in its own words.
type StatsReply struct {
	MemTotal     uint64    // bytes the kernel manages
	MemAvailable uint64    // bytes that a new program could get
	Uptime       uint64    // CLOCK_BOOTTIME, nanoseconds
	Load         [3]uint32 // 1, 5 and 15 minutes, in 1/65536
	Processes    uint32    // tasks, as sysinfo(2) counts them
	Realtime     int64     // wall clock, nanoseconds since 1970
}

// Type implements Message.
func (StatsReply) Type() Type { return TypeStatsReply }

func (m StatsReply) append(b []byte) []byte {
	b = le.AppendUint64(b, m.MemTotal)
	b = le.AppendUint64(b, m.MemAvailable)
	b = le.AppendUint64(b, m.Uptime)
	for _, l := range m.Load {
		b = le.AppendUint32(b, l)
	}
	b = le.AppendUint32(b, m.Processes)
	return le.AppendUint64(b, uint64(m.Realtime))
}

func decodeStatsReply(p []byte) (StatsReply, error) {
	d := decoder{b: p}
	m := StatsReply{MemTotal: d.u64(), MemAvailable: d.u64(), Uptime: d.u64()}
	for i := range m.Load {
		m.Load[i] = d.u32()
	}
	m.Processes, m.Realtime = d.u32(), int64(d.u64())
	return m, d.done("statistics")
}
