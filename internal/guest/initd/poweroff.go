package initd

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// shutdownGrace is how long processes have between SIGTERM and SIGKILL.
const shutdownGrace = 2 * time.Second

// shutDown ends all processes, leaves the file systems clean and ends the
// machine.
func shutDown(how int) {
	_ = unix.Kill(-1, unix.SIGTERM)
	if !waitForChildren(shutdownGrace) {
		_ = unix.Kill(-1, unix.SIGKILL)
		waitForChildren(shutdownGrace)
	}
	unix.Sync()
	if text, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		for _, target := range blockMounts(string(text)) {
			if unix.Unmount(target, 0) != nil {
				_ = unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
			}
		}
	}
	end(how)
}

// waitForChildren reaps until there is no child left: of PID 1, that is until
// there is no process left.
func waitForChildren(limit time.Duration) bool {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return true
		case err == nil && pid == 0:
			time.Sleep(5 * time.Millisecond)
		}
	}
	return false
}

// end stops the machine. Where the kernel cannot, PID 1 exits, and the kernel
// panics.
func end(how int) {
	unix.Sync()
	_ = unix.Reboot(how)
	os.Exit(1)
}
