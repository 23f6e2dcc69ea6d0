package vsock

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// CIDs a guest can have (virtio 1.2 §5.10.4): 0 to 2 and 2³²-1 have meanings of their own.
const (
	minCID = 3
	maxCID = 1<<32 - 2
)

// saved is the device's part of a snapshot. Connections are not in it: their host ends belong to the machine that goes
// on, and a restored guest is told so.
type saved struct {
	CID uint64 `json:"cid"`

	// HostPort is the last port given to a connection the host opened. Linux keeps a socket that a TRANSPORT_RESET
	// killed in its table until the program closes it, and a REQUEST with the same ports would end there: the ports
	// must go on, not start again.
	HostPort uint32 `json:"host_port"`
}

// Save implements [virtio.Device]. The device itself is left as it is.
func (d *Device) Save() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return json.Marshal(saved{CID: d.cid.Load(), HostPort: d.port})
}

// Load implements [virtio.Device]. The guest will get a TRANSPORT_RESET, with or without a SetIdentity.
func (d *Device) Load(state []byte) error {
	var s saved
	dec := json.NewDecoder(bytes.NewReader(state))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return fmt.Errorf("vsock state: %w", err)
	}
	if dec.More() {
		return fmt.Errorf("vsock state: more than one value")
	}
	if s.CID < minCID || s.CID > maxCID {
		return fmt.Errorf("vsock state: CID %d is not between %d and %d", s.CID, minCID, maxCID)
	}
	if s.HostPort < firstHostPort {
		return fmt.Errorf("vsock state: host port %d is below %d", s.HostPort, firstHostPort)
	}
	d.SetIdentity(s.CID)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.port = s.HostPort
	return nil
}

// SetIdentity gives a restored fork its own CID, 3 to 2³²-2, before Start. Its guest is told to read the CID again and
// to give up the connections of the machine it was copied from; its listening sockets stay.
func (d *Device) SetIdentity(cid uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cid.Store(cid)
	d.event = transportReset{wanted: true}
	d.resets, d.pending = nil, nil
	d.dropAll(func(c *conn) bool { return !c.untold() })
	for _, c := range d.conns {
		c.queued = false // a request waits until the guest has handled the reset
	}
}
