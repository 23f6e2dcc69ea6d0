// Package virtio is what every virtio device and transport shares: the device contract, the split virtqueue and its
// chains (virtio 1.2 §2). The register files are in virtio/mmio, the devices each in a directory of their own.
//
// A transport drives a [Device] through these states:
//
//	             Start (DRIVER_OK)              Stop (pause)
//	  ┌───────┐ ───────────────▶ ┌─────────┐ ───────────────▶ ┌─────────┐
//	  │ reset │                  │ running │                  │ stopped │──▶ Save
//	  └───────┘ ◀─────────────── └─────────┘ ◀─────────────── └─────────┘
//	      ▲       Stop (reset)                 Start (Resumed)     │
//	      └─────────────────────────── reset ──────────────────────┘
//
//	Load is called in reset only, before the Start with Resumed set that continues a saved device.
//
// Main types in reading order: [Device], [Session], [Queue], [Chain], [Segments], [Worker].
//
// Rules:
//   - HandleQueue runs on one goroutine per queue; two queues run at the same time.
//   - A queue is used only between Start and Stop. After Stop returned nothing touches guest memory.
//   - Every popped chain is pushed exactly once, by Stop at the latest.
//   - Guest memory is read once: a header is copied out of the chain, checked, and the copy used.
//   - A ring that makes no sense is reported with [Session.Fail]: the device then reads as DEVICE_NEEDS_RESET
//     (virtio 1.2 §2.1.1) and serves nothing until the driver resets it. It never ends the process.
package virtio
