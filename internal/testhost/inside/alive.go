package inside

import "time"

// AliveInterval is the time between two signs of life.
const AliveInterval = 2 * time.Second

// SendAlive sends an empty frame of kind Alive at each interval until one cannot be sent.
//
// From the emulated host it says that its processor and timers run: a host from which nothing comes is dead. To it, each
// raises an interrupt, which matters as much: QEMU 7.2 can lose one. Its helper for VMRUN sets a bit of the processor's
// interrupt_request without the lock under which its main loop sets others there. If it is the timer's, and the processor
// goes idle before another comes, the host sleeps for ever; the next interrupt of any kind delivers both. A command that
// does not read its standard input holds them up behind that.
func SendAlive(frames *FrameWriter, interval time.Duration) {
	for {
		time.Sleep(interval)
		if frames.Write(Alive, nil) != nil {
			return
		}
	}
}
