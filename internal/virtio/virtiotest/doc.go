// Package virtiotest is the driver's side of virtio, for tests: what a guest's kernel does to a device, through the
// registers of a virtio-mmio slot and rings in guest memory, and the conformance suite that every device passes.
//
// It is not a guest: there is no processor, an interrupt is a call. It is linked into test binaries only.
//
// Main types in reading order: [Driver], [Buffer], [Used]; [Conformance] with its [Options]; [Fuzz]; [Echo], the
// smallest device, for tests that need any device.
//
// A device's own test reads
//
//	d := virtiotest.NewDriver(t, dev)       // 64 MiB of RAM, a slot with the device in it; closed by t.Cleanup
//	d.Start(d.Offered())                    // negotiate, set up every queue, DRIVER_OK
//	out, in := d.Out(header), d.In(512)     // buffers in guest RAM: device-readable, device-writable
//	written := d.Do(0, out, in)             // one chain on queue 0: submit, wait, check
//	got := d.Bytes(in)
//
// and where requests overlap:
//
//	head := d.Submit(0, out, in)            // returns when the chain is published and the device notified
//	used := d.Wait(0)                       // Used{Head, Len}, in the order of the used ring
//	d.Pause(); d.Resume()                   // around a pause
//	d.Migrate(newDevice)                    // pause, save, load into a new slot with a new device; then Resume
//	d.Reset(); d.Start(d.Offered())         // a new session
//
// Rules:
//   - Nothing sleeps. Each wait ends with an interrupt, or fails the test after Patience.
//   - The driver checks what every driver may rely on: a used head is one that is outstanding, each is used once, and
//     Len is not above what the chain lets the device write.
//   - The methods of a Driver are called on the test's goroutine (they may call t.Fatal); different queues may be
//     submitted to and polled from several goroutines.
//
// Sections: virtio 1.2 §2.7 (split virtqueues, the driver's part), §3.1 (initialization), §4.2.3 (virtio-mmio operation).
package virtiotest
