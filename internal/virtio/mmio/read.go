package mmio

import (
	"encoding/binary"
	"math"
)

// absent is what the registers of a shared memory region that does not exist read as (virtio 1.2 §4.2.2).
const absent = math.MaxUint32

// Read fills p with what the driver sees at offset. An access that the specification does not allow reads as zero.
func (s *Slot) Read(offset uint64, p []byte) {
	clear(p)
	c := s.card.Load()
	switch {
	case offset >= regConfig:
		if c != nil && configAccess(offset, p) {
			c.dev.ReadConfig(uint32(offset-regConfig), p)
		}
	case !registerAccess(offset, p):
	case c == nil:
		binary.LittleEndian.PutUint32(p, readEmpty(offset))
	default:
		binary.LittleEndian.PutUint32(p, s.readRegister(c, offset))
	}
}

func registerAccess(offset uint64, p []byte) bool { return len(p) == 4 && offset%4 == 0 }

func configAccess(offset uint64, p []byte) bool {
	switch len(p) {
	case 1, 2, 4, 8:
		return offset-regConfig <= math.MaxUint32-8
	}
	return false
}

// readEmpty is the register file of a slot without a device: DeviceID 0 makes the driver leave it alone.
func readEmpty(offset uint64) uint32 {
	switch offset {
	case regMagicValue:
		return magicValue
	case regVersion:
		return version
	}
	return 0
}

func (s *Slot) readRegister(c *card, offset uint64) uint32 {
	switch offset {
	case regMagicValue:
		return magicValue
	case regVersion:
		return version
	case regDeviceID:
		return c.spec.Type
	case regVendorID:
		return vendorID
	case regInterruptStatus:
		return s.signals.interrupt.Load()
	case regStatus:
		return s.signals.status.Load()
	case regConfigGeneration:
		return s.signals.generation.Load()
	case regSHMLenLow, regSHMLenHigh, regSHMBaseLow, regSHMBaseHigh:
		return absent
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch offset {
	case regDeviceFeatures:
		return featureWord(c.features, s.regs.deviceFeaturesSel)
	case regQueueNumMax:
		if s.regs.queueSel < uint32(len(c.spec.QueueSizes)) {
			return uint32(c.spec.QueueSizes[s.regs.queueSel])
		}
	case regQueueReady:
		if q := s.regs.queue(); q != nil && q.Ready {
			return 1
		}
	}
	return 0
}

// featureWord is the 32 bits of the feature set that a selector names; there are two such words.
func featureWord(features uint64, sel uint32) uint32 {
	if sel > 1 {
		return 0
	}
	return uint32(features >> (32 * sel))
}
