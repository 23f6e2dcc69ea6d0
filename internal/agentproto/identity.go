package agentproto

import "errors"

// Identity makes a machine itself: at its first boot, and in every fork before
// it is called ready (design §5, 1 to 3).
type Identity struct {
	// Fork is set when the machine comes from a template: its hostname is then
	// also written to /etc/hostname.
	Fork bool
	// KeepMachineID keeps a machine-id that the image has, if it is a valid one:
	// for a machine that was booted, not forked.
	KeepMachineID bool

	UUID      [16]byte // of the VM
	Hostname  string   // see ValidHostname
	MachineID [16]byte // machine-id(5), as bytes
	CID       uint32   // vsock context id; 0: not checked
	Entropy   [32]byte // fresh from the host's random number generator
	WallClock int64    // nanoseconds since 1970, at the moment of sending
	Raw       int64    // the guest's Clock.Raw at that moment, so that the way here does not matter; 0: not known
}

// Validate tells what is wrong with an identity. One without entropy or with a
// zero id is a mistake of its maker that would give siblings the same one.
func (m Identity) Validate() error {
	switch {
	case m.UUID == [16]byte{}:
		return errors.New("identity without VM UUID")
	case m.MachineID == [16]byte{}:
		return errors.New("identity without machine-id")
	case m.Entropy == [32]byte{}:
		return errors.New("identity without entropy")
	case m.WallClock <= 0:
		return errors.New("identity without wall clock")
	case !ValidHostname(m.Hostname):
		return errors.New("not a host name: " + m.Hostname)
	}
	return nil
}

// ValidHostname tells whether s can be a host name: labels of letters, digits,
// '-' and '_' as systemd accepts them, no '-' at either end of a label, separated
// by dots, at most 64 bytes in all (the kernel's __NEW_UTS_LEN).
func ValidHostname(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	edge := true // at the start of a label
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
			edge = false
		case c == '-' && !edge && i != len(s)-1 && s[i+1] != '.':
		case c == '.' && !edge && i != len(s)-1:
			edge = true
		default:
			return false
		}
	}
	return true
}

// Type implements Message.
func (Identity) Type() Type { return TypeIdentity }

func (m Identity) append(b []byte) []byte {
	b = appendBool(b, m.Fork)
	b = appendBool(b, m.KeepMachineID)
	b = append(b, m.UUID[:]...)
	b = appendString(b, m.Hostname)
	b = append(b, m.MachineID[:]...)
	b = le.AppendUint32(b, m.CID)
	b = append(b, m.Entropy[:]...)
	b = le.AppendUint64(b, uint64(m.WallClock))
	return le.AppendUint64(b, uint64(m.Raw))
}

func decodeIdentity(p []byte) (Identity, error) {
	d := decoder{b: p}
	var m Identity
	m.Fork, m.KeepMachineID = d.bool(), d.bool()
	copy(m.UUID[:], d.take(len(m.UUID)))
	m.Hostname = d.str(64)
	copy(m.MachineID[:], d.take(len(m.MachineID)))
	m.CID = d.u32()
	copy(m.Entropy[:], d.take(len(m.Entropy)))
	m.WallClock, m.Raw = int64(d.u64()), int64(d.u64())
	return m, d.done("identity")
}

// Item is one part of an identity.
type Item uint8

// Items, in the order in which they are applied.
const (
	ItemEntropy Item = iota
	ItemClock
	ItemHostname
	ItemMachineID
	ItemUUID
	ItemCID

	items
)

// String names the item.
func (i Item) String() string {
	names := [...]string{"entropy", "clock", "hostname", "machine-id", "uuid", "cid"}
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown item"
}

// Outcome is what became of an item.
type Outcome uint8

// Outcomes.
const (
	Done    Outcome = iota // it is now as the identity says
	Kept                   // left as it was, as asked or because it was right
	Skipped                // this machine has no such thing; Detail says why
	Failed                 // Detail says why; the machine must not be used

	outcomes
)

// ItemResult is the outcome of one item.
type ItemResult struct {
	Item    Item
	Outcome Outcome
	Detail  string // for people, at most 256 bytes
}

const maxDetail = 256

// Ack is the final reply of Identity: each item once, in order.
type Ack struct{ Items []ItemResult }

// Err is the first failed item, or nil when the machine is right.
func (m Ack) Err() error {
	for _, it := range m.Items {
		if it.Outcome == Failed {
			return errors.New("guest agent: " + it.Item.String() + " not applied: " + it.Detail)
		}
	}
	return nil
}

// Type implements Message.
func (Ack) Type() Type { return TypeAck }

func (m Ack) append(b []byte) []byte {
	b = append(b, byte(len(m.Items)))
	for _, it := range m.Items {
		b = append(b, byte(it.Item), byte(it.Outcome))
		b = appendString(b, it.Detail[:min(len(it.Detail), maxDetail)])
	}
	return b
}

func decodeAck(p []byte) (Ack, error) {
	d := decoder{b: p}
	n := d.u8()
	// Every item must be there: an agent that leaves one out did not apply it.
	d.bad = d.bad || n != uint8(items)
	var m Ack
	for want := range items {
		it := ItemResult{Item: Item(d.u8()), Outcome: Outcome(d.u8()), Detail: d.text(maxDetail)}
		d.bad = d.bad || it.Item != want || it.Outcome >= outcomes
		if d.bad {
			break
		}
		m.Items = append(m.Items, it)
	}
	if err := d.done("ack"); err != nil {
		return Ack{}, err
	}
	return m, nil
}
