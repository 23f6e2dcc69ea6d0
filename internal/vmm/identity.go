package vmm

import (
	"crypto/rand"
	"encoding/binary"

	"clone/internal/x86"
)

// Identity page (GPA x86.IdentityPage, reserved in the E820 map): who this machine is, for whoever in the guest reads
// physical memory before the agent can be told. Little-endian.
//
//	0   8  magic "CLONEID\0"
//	8   4  version, 1
//	12  4  vsock context id
//	16 16  VM UUID
//	32 32  entropy, fresh in every machine
//	64 64  hostname, NUL-padded
const (
	identityMagic   = "CLONEID\x00"
	identityVersion = 1
	identitySize    = 128
)

func (m *Machine) writeIdentity() error {
	var page [identitySize]byte
	copy(page[0:], identityMagic)
	binary.LittleEndian.PutUint32(page[8:], identityVersion)
	binary.LittleEndian.PutUint32(page[12:], m.identity.CID)
	copy(page[16:], m.identity.UUID[:])
	rand.Read(page[32:64])
	copy(page[64:], m.identity.Hostname)
	return m.mem.WriteAt(page[:], x86.IdentityPage)
}

// newGeneration gives the guest a VM generation identifier it never had ("Virtual Machine Generation ID", 2012). Linux
// takes it as a seed, too.
func (m *Machine) newGeneration() error {
	var guid [x86.VMGenIDSize]byte
	rand.Read(guid[:])
	return m.mem.WriteAt(guid[:], x86.VMGenIDAddr)
}

// pulse raises and lowers an edge-triggered interrupt, synchronously.
func (m *Machine) pulse(gsi uint32) error {
	if err := m.vm.IRQLine(gsi, true); err != nil {
		return err
	}
	return m.vm.IRQLine(gsi, false)
}
