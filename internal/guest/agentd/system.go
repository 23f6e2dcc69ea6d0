package agentd

import "clone/internal/agentproto"

// Registers are a device's, in memory.
type Registers interface {
	// Uint64 reads the eight bytes at offset, in one access.
	Uint64(offset int) uint64
	Close() error
}

// System is what the agent does to the machine it runs in. Linux is the real
// one. Every method may be called from several goroutines.
type System interface {
	// Realtime reads CLOCK_REALTIME, nanoseconds since 1970.
	Realtime() int64
	// Raw reads CLOCK_MONOTONIC_RAW, nanoseconds; 0 where the clock source is not kvm-clock.
	Raw() int64
	// MapRegisters gives access to the page of a device at a guest-physical address.
	MapRegisters(gpa uint64) (Registers, error)
	// StepRealtime adds ns nanoseconds to CLOCK_REALTIME.
	StepRealtime(ns int64) error
	// AddEntropy mixes seed into the kernel's random number generator, credits
	// it and reseeds from it.
	AddEntropy(seed []byte) error
	// SetHostname sets the host name of the running kernel.
	SetHostname(name string) error
	// LocalCID reads the vsock context id. The error is fs.ErrNotExist on a
	// machine without vsock.
	LocalCID() (uint32, error)
	// Path is where the file of the machine called name, an absolute path, is.
	Path(name string) string
	// BindMount makes the file target show the file source.
	BindMount(source, target string) error
	// Sync writes file systems back.
	Sync() error
	// Shutdown begins the end of the machine.
	Shutdown(mode agentproto.ShutdownMode, force bool) error
	// Bind gives a platform device to a driver.
	Bind(driver, device string) error
	// Stats reads how the machine is.
	Stats() (agentproto.StatsReply, error)
}
