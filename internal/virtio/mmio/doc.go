// Package mmio is the virtio-mmio transport, version 2 (virtio 1.2 §4.2): one register file that serves every device.
//
// It is not a bus and knows no addresses: whoever maps a [Slot] gives it offsets into its window. It is not a device
// either: what a queue or a configuration byte means is the [virtio.Device]'s affair.
//
// Main types in reading order: [Slot], [State]; the register numbers are in registers.go, the reads and writes in
// read.go and write.go, the device's life (start, halt, pause, resume) in lifecycle.go, what the device tells the
// driver in signals.go.
//
// Rules:
//   - An empty slot reads DeviceID 0 and ignores writes (§4.2.2); it can be filled once, while no vCPU runs.
//   - Registers are 32 bits wide and honoured only as aligned 4-byte accesses; the configuration space takes 1, 2, 4
//     and 8 bytes (§4.2.2.2).
//   - Two locks. Slot.mu guards registers and the device's life, and is held while workers are joined: no goroutine of
//     a device may need it. What a device calls from its goroutines takes only signals.mu, under which nothing blocks.
//   - The interrupt is an edge: the status bit is set before it is raised, and a resume raises it again.
//   - A late call from a session that ended by reset changes nothing (signals.epoch).
//   - VIRTIO_F_RING_RESET and shared memory regions are not offered: their registers read as absent.
//
// Sections: virtio 1.2 §2.1 (status), §2.2 (features), §2.3 (notifications), §3.1 (initialization), §4.2.2 (registers).
package mmio
