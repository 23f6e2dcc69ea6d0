package agentd

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Linux is the machine the agent runs on.
type Linux struct{}

// Realtime implements System.
func (Linux) Realtime() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME, &ts) != nil {
		return 0 // cannot happen: the clock exists and ts is ours
	}
	return ts.Nano()
}

// kvmClock tells whether the kernel's clock source is kvm-clock. It is asked once: an answer from a page that a fork has
// not touched yet would cost what Raw is there to save.
var kvmClock = sync.OnceValue(func() bool {
	name, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	return err == nil && strings.TrimSpace(string(name)) == "kvm-clock"
})

// Raw implements System.
func (Linux) Raw() int64 {
	var ts unix.Timespec
	if !kvmClock() || unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

// StepRealtime implements System with clock_adjtime(2), ADJ_SETOFFSET: unlike
// reading and setting, it adds no time that passes in between.
func (Linux) StepRealtime(ns int64) error {
	tx := step(ns)
	if _, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &tx); err != nil {
		return failed("step the clock", err)
	}
	return nil
}

// step is the request to add ns nanoseconds. The kernel wants the fraction
// positive, whatever the sign of the seconds.
func step(ns int64) unix.Timex {
	sec, nsec := ns/1e9, ns%1e9
	if nsec < 0 {
		sec, nsec = sec-1, nsec+1e9
	}
	return unix.Timex{
		Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO,
		Time:  unix.Timeval{Sec: sec, Usec: nsec},
	}
}

// AddEntropy implements System. Writing to the device mixes; random(4)'s ioctls
// credit and reseed.
func (Linux) AddEntropy(seed []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(seed); err != nil {
		return err
	}
	fd := int(f.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.RNDADDTOENTCNT, len(seed)*8); err != nil {
		return failed("credit entropy", err)
	}
	// Without this the generator would go on from the old key for up to a
	// minute. Kernels before 4.17 lack it: they reseed by themselves as they
	// are read from.
	if err := unix.IoctlSetInt(fd, unix.RNDRESEEDCRNG, 0); err != nil && err != unix.EINVAL && err != unix.ENOTTY {
		return failed("reseed the random number generator", err)
	}
	return nil
}

// SetHostname implements System.
func (Linux) SetHostname(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return failed("sethostname", err)
	}
	return nil
}

// LocalCID implements System, with the ioctl of vsock(7).
func (Linux) LocalCID() (uint32, error) {
	f, err := os.Open("/dev/vsock")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	cid, err := unix.IoctlGetUint32(int(f.Fd()), unix.IOCTL_VM_SOCKETS_GET_LOCAL_CID)
	if err != nil {
		return 0, failed("read the vsock CID", err)
	}
	return cid, nil
}

// Path implements System.
func (Linux) Path(name string) string { return name }

// BindMount implements System.
func (Linux) BindMount(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return failed("bind "+source+" over "+target, err)
	}
	return nil
}

// Sync implements System.
func (Linux) Sync() error {
	unix.Sync()
	return nil
}

// Bind implements System. A device that has a driver already is left alone.
func (Linux) Bind(driver, device string) error {
	const bus = "/sys/bus/platform/"
	if _, err := os.Lstat(bus + "devices/" + device + "/driver"); err == nil {
		return nil
	}
	f, err := os.OpenFile(bus+"drivers/"+driver+"/bind", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(device); err != nil {
		return failed("bind "+device+" to "+driver+" (is the device slot filled?)", err)
	}
	return nil
}
