package virtiotest

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"clone/internal/guestmem"
	"clone/internal/virtio"
	"clone/internal/virtio/mmio"
)

// Patience is how long a wait lasts before it fails the test.
const Patience = 30 * time.Second

// defaultRAM is the size of a Driver's memory in bytes; untouched pages cost nothing.
const defaultRAM = 64 << 20

// Registers of virtio-mmio (virtio 1.2 §4.2.2), as a driver knows them.
const (
	RegMagicValue        = 0x000
	RegVersion           = 0x004
	RegDeviceID          = 0x008
	RegDeviceFeatures    = 0x010
	RegDeviceFeaturesSel = 0x014
	RegDriverFeatures    = 0x020
	RegDriverFeaturesSel = 0x024
	RegQueueSel          = 0x030
	RegQueueNumMax       = 0x034
	RegQueueNum          = 0x038
	RegQueueReady        = 0x044
	RegQueueNotify       = 0x050
	RegInterruptStatus   = 0x060
	RegInterruptACK      = 0x064
	RegStatus            = 0x070
	RegQueueDesc         = 0x080
	RegQueueDriver       = 0x090
	RegQueueDevice       = 0x0a0
	RegConfigGeneration  = 0x0fc
	RegConfig            = 0x100
)

// Device status bits (virtio 1.2 §2.1).
const (
	StatusAcknowledge = 1
	StatusDriver      = 2
	StatusDriverOK    = 4
	StatusFeaturesOK  = 8
	StatusNeedsReset  = 64
	StatusFailed      = 128
)

// Driver drives one device as a guest's kernel would.
type Driver struct {
	t        testing.TB
	mem      *guestmem.Memory
	ownsMem  bool
	slot     *mmio.Slot
	observer *observer
	line     *line
	features uint64
	rings    []*ring
	next     atomic.Uint64 // next free byte of RAM
}

// NewDriver plugs dev into a slot over 64 MiB of RAM. Both are released when the test ends.
func NewDriver(t testing.TB, dev virtio.Device) *Driver {
	t.Helper()
	mem, err := guestmem.NewAnonymous(defaultRAM)
	if err != nil {
		t.Fatal(err)
	}
	d := NewDriverOver(t, mem, dev)
	d.ownsMem = true
	return d
}

// NewDriverOver is NewDriver over memory of the caller's, who unmaps it after the test. Buffers and rings are
// allocated from GPA 64 KiB up.
func NewDriverOver(t testing.TB, mem *guestmem.Memory, dev virtio.Device) *Driver {
	t.Helper()
	d := &Driver{t: t, mem: mem}
	d.next.Store(firstFree)
	d.plug(dev)
	t.Cleanup(d.Close)
	return d
}

// plug makes a new slot with dev in it.
func (d *Driver) plug(dev virtio.Device) {
	d.t.Helper()
	d.observer = observe(dev)
	l := newLine(d.observer)
	slot := mmio.New(d.mem, l.raise)
	l.slot = slot
	if err := slot.Plug(d.observer); err != nil {
		d.t.Fatalf("plug: %v", err)
	}
	d.slot, d.line = slot, l
}

// Close stops the device and releases the slot. It may be called again; t.Cleanup does.
func (d *Driver) Close() {
	if d.slot == nil {
		return
	}
	d.line.masked.Store(true)
	if err := d.slot.Close(); err != nil {
		d.t.Errorf("close slot: %v", err)
	}
	d.slot = nil
	for _, fault := range d.observer.faults() {
		d.t.Error(fault)
	}
	if d.ownsMem {
		if err := d.mem.Close(); err != nil {
			d.t.Errorf("unmap RAM: %v", err)
		}
	}
}

// Slot is the slot the device is in; another one after Migrate.
func (d *Driver) Slot() *mmio.Slot { return d.slot }

// Memory is the guest's RAM.
func (d *Driver) Memory() *guestmem.Memory { return d.mem }

// Features are the negotiated feature bits.
func (d *Driver) Features() uint64 { return d.features }

// Read reads a register.
func (d *Driver) Read(reg uint64) uint32 {
	var b [4]byte
	d.slot.Read(reg, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// Write writes a register.
func (d *Driver) Write(reg uint64, v uint32) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	d.slot.Write(reg, b[:])
}

func (d *Driver) write64(reg, v uint64) {
	d.Write(reg, uint32(v))
	d.Write(reg+4, uint32(v>>32))
}

// Config reads n bytes of the configuration space at offset, one at a time.
func (d *Driver) Config(offset uint64, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		d.slot.Read(RegConfig+offset+uint64(i), p[i:i+1])
	}
	return p
}

// WriteConfig writes p to the configuration space at offset, in one access (of 1, 2, 4 or 8 bytes).
func (d *Driver) WriteConfig(offset uint64, p []byte) { d.slot.Write(RegConfig+offset, p) }

// Status reads the device status.
func (d *Driver) Status() uint32 { return d.Read(RegStatus) }
