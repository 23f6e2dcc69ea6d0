package virtiotest

import (
	"encoding/json"

	"clone/internal/virtio"
	"clone/internal/virtio/mmio"
)

// Offered reads the features that the device offers.
func (d *Driver) Offered() uint64 {
	d.Write(RegDeviceFeaturesSel, 0)
	low := d.Read(RegDeviceFeatures)
	d.Write(RegDeviceFeaturesSel, 1)
	return uint64(d.Read(RegDeviceFeatures))<<32 | uint64(low)
}

// Negotiate goes as far as FEATURES_OK with exactly these features, and tells whether the device agreed.
func (d *Driver) Negotiate(features uint64) bool {
	d.Write(RegStatus, 0)
	d.Write(RegStatus, StatusAcknowledge)
	d.Write(RegStatus, StatusAcknowledge|StatusDriver)
	d.Write(RegDriverFeaturesSel, 0)
	d.Write(RegDriverFeatures, uint32(features))
	d.Write(RegDriverFeaturesSel, 1)
	d.Write(RegDriverFeatures, uint32(features>>32))
	d.Write(RegStatus, StatusAcknowledge|StatusDriver|StatusFeaturesOK)
	d.features = features
	return d.Status()&StatusFeaturesOK != 0
}

// Start resets and initializes the device: these features (VERSION_1 is added), every queue at its maximum size,
// DRIVER_OK. The test fails when the device refuses.
func (d *Driver) Start(features uint64) {
	d.t.Helper()
	d.Setup(features)
	d.Go()
}

// Setup is Start without DRIVER_OK: what malformed rings are made from.
func (d *Driver) Setup(features uint64) {
	d.t.Helper()
	if !d.Negotiate(features | virtio.FeatureVersion1) {
		d.t.Fatalf("device refuses features %#x, it offers %#x", features, d.Offered())
	}
	d.next.Store(firstFree)
	d.rings = nil
	for i := range d.observer.Spec().QueueSizes {
		d.rings = append(d.rings, d.setupRing(i))
	}
}

// SetDriverOK sets DRIVER_OK, whatever comes of it.
func (d *Driver) SetDriverOK() { d.Write(RegStatus, d.Status()|StatusDriverOK) }

// Go sets DRIVER_OK after Setup. The test fails when the device does not start.
func (d *Driver) Go() {
	d.t.Helper()
	d.SetDriverOK()
	if got := d.Status(); got&(StatusDriverOK|StatusNeedsReset) != StatusDriverOK {
		d.t.Fatalf("status %#x after DRIVER_OK: %v", got, d.slot.Failure())
	}
}

// setupRing gives queue i rings in RAM and programs the device with them (virtio 1.2 §4.2.3.2).
func (d *Driver) setupRing(i int) *ring {
	d.t.Helper()
	d.Write(RegQueueSel, uint32(i))
	if d.Read(RegQueueReady) != 0 {
		d.t.Fatalf("queue %d is ready after reset", i)
	}
	size := d.Read(RegQueueNumMax)
	if want := d.observer.Spec().QueueSizes[i]; size != uint32(want) {
		d.t.Fatalf("QueueNumMax of queue %d is %d, its device says %d", i, size, want)
	}
	r := d.newRing(i, uint16(size))
	d.Write(RegQueueNum, size)
	d.write64(RegQueueDesc, r.desc)
	d.write64(RegQueueDriver, r.avail)
	d.write64(RegQueueDevice, r.used)
	d.Write(RegQueueReady, 1)
	if d.Read(RegQueueReady) != 1 {
		d.t.Fatalf("queue %d does not become ready", i)
	}
	return r
}

// Reset resets the device and forgets all buffers and requests.
func (d *Driver) Reset() {
	d.t.Helper()
	d.Write(RegStatus, 0)
	if got := d.Status(); got != 0 {
		d.t.Fatalf("status %#x after reset", got)
	}
	d.rings = nil
	d.next.Store(firstFree)
}

// Pause pauses the slot; interrupts that the device raises meanwhile are lost, as their edge may be in a snapshot.
func (d *Driver) Pause() {
	d.line.masked.Store(true)
	d.slot.Pause()
}

// Resume goes on after Pause or Migrate.
func (d *Driver) Resume() {
	d.t.Helper()
	d.line.masked.Store(false)
	if err := d.slot.Resume(); err != nil {
		d.t.Fatalf("resume: %v", err)
	}
}

// Save pauses and returns the slot's state as it would come back from a file.
func (d *Driver) Save() mmio.State {
	d.t.Helper()
	d.Pause()
	state, err := d.slot.Save()
	if err != nil {
		d.t.Fatalf("save: %v", err)
	}
	text, err := json.Marshal(state)
	if err != nil {
		d.t.Fatalf("encode state: %v", err)
	}
	var back mmio.State
	if err := json.Unmarshal(text, &back); err != nil {
		d.t.Fatalf("decode state: %v", err)
	}
	return back
}

// Migrate saves the device and loads its state into a new slot with dev in it, over the same RAM, as a restore does.
// The driver's session goes on with Resume. The old slot is closed; its device stays the caller's.
func (d *Driver) Migrate(dev virtio.Device) {
	d.t.Helper()
	d.replace(dev, d.Save())
}

// replace closes the slot and loads a state into a new one.
func (d *Driver) replace(dev virtio.Device, state mmio.State) {
	d.t.Helper()
	if err := d.slot.Close(); err != nil {
		d.t.Errorf("close slot: %v", err)
	}
	for _, fault := range d.observer.faults() {
		d.t.Error(fault)
	}
	d.plug(dev)
	d.line.masked.Store(true)
	if err := d.slot.Load(state); err != nil {
		d.t.Fatalf("load: %v", err)
	}
}

// AdvanceIndexes is Migrate and Resume with all ring indexes at start, as if that many chains had gone through each
// queue. Nothing may be outstanding.
func (d *Driver) AdvanceIndexes(dev virtio.Device, start uint16) {
	d.t.Helper()
	state := d.Save()
	for i, r := range d.rings {
		if len(r.outstanding) > 0 {
			d.t.Fatalf("queue %d has %d chains outstanding", i, len(r.outstanding))
		}
		state.Queues[i].NextAvail, state.Queues[i].NextUsed = start, start
		r.availIdx, r.usedIdx = start, start
		d.word(r.avail + 2).Store(start)
		d.word(r.used + 2).Store(start)
	}
	d.replace(dev, state)
	d.Resume()
}
