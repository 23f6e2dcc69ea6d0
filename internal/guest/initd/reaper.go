package initd

import (
	"errors"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// nothing is the main process of a machine that runs until it is told to stop.
const nothing = 0

// What the realtime signals mean to PID 1, after systemd(1); the others follow
// busybox, whose reboot and poweroff may be what such an image has. glibc's
// SIGRTMIN is 34.
const (
	sigPowerOff = unix.Signal(34 + 4)
	sigReboot   = unix.Signal(34 + 5)
)

// reap is PID 1 where there is no init: it takes the exit status of every
// orphan, and ends the machine when the process main exits or a signal says
// so. It does not return.
func reap(main int) error {
	// It was run as /init; the agent tells by this name whom it has to ask for
	// a shutdown.
	_ = os.WriteFile("/proc/self/comm", []byte("clone-init"), 0)
	signals := make(chan os.Signal, 64)
	signal.Notify(signals) // all: the default of some would end PID 1
	// Whoever exited before Notify sent no signal that we saw.
	for {
		if ended := reapAll(main); ended {
			shutDown(unix.LINUX_REBOOT_CMD_POWER_OFF)
		}
		how, ok := shutdownSignal(<-signals)
		if ok {
			shutDown(how)
		}
	}
}

// reapAll collects every child that has exited and reports whether main was
// among them.
func reapAll(main int) (ended bool) {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || pid <= 0:
			return ended
		case pid == main && main != nothing:
			ended = true
		}
	}
}

// shutdownSignal says how the machine ends on a signal to PID 1.
func shutdownSignal(s os.Signal) (how int, ok bool) {
	switch s {
	case unix.SIGUSR1, unix.SIGUSR2, unix.SIGPWR, sigPowerOff:
		return unix.LINUX_REBOOT_CMD_POWER_OFF, true
	case unix.SIGTERM, unix.SIGINT, sigReboot: // SIGINT: Ctrl-Alt-Del
		return unix.LINUX_REBOOT_CMD_RESTART, true
	}
	return 0, false
}
