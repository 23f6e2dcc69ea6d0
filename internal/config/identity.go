package config

import (
	"crypto/rand"
	"encoding/hex"
)

// Identity is what makes a machine itself and no sibling of its template.
type Identity struct {
	UUID     [16]byte // RFC 9562 version 4; also the machine-id
	Hostname string
	CID      uint32 // vsock context id, 3 and up
}

// FirstCID is the lowest vsock context id a guest can have (virtio 1.2 §5.10.4).
const FirstCID = 3

// NewIdentity draws a fresh identity. An empty hostname becomes "clone-" and the first digits of the UUID.
func NewIdentity(hostname string) Identity {
	id := Identity{Hostname: hostname}
	rand.Read(id.UUID[:])
	id.UUID[6] = id.UUID[6]&0x0f | 0x40
	id.UUID[8] = id.UUID[8]&0x3f | 0x80
	if hostname == "" {
		id.Hostname = "clone-" + hex.EncodeToString(id.UUID[:4])
	}
	// With the device in user space the context id is this VM's alone; it is drawn at random all the same, so that
	// programs in siblings that take it for a name do not take themselves for each other.
	var b [4]byte
	rand.Read(b[:])
	id.CID = FirstCID + (uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24)%(1<<31-FirstCID)
	return id
}

// UUIDString is the usual form, 8-4-4-4-12 digits.
func (id Identity) UUIDString() string {
	h := hex.EncodeToString(id.UUID[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
