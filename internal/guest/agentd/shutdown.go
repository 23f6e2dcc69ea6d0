package agentd

import (
	"os"
	"strings"
	"syscall"
	"time"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// systemd(1), "Signals": SIGRTMIN+4 starts poweroff.target, SIGRTMIN+5
// reboot.target. SIGRTMIN is 34 as user space counts.
const (
	systemdPowerOff = unix.Signal(34 + 4)
	systemdReboot   = unix.Signal(34 + 5)
)

// termGrace is what processes get to end in when there is no init to ask.
const termGrace = 2 * time.Second

// Shutdown implements System. The orderly way is that of the machine's init;
// where there is none that shuts down (a shell as PID 1), the agent ends
// the processes itself.
func (l Linux) Shutdown(mode agentproto.ShutdownMode, force bool) error {
	switch {
	case force:
		unix.Sync()
		go l.end(mode) // after the reply
		return nil
	case exists("/run/systemd/system"):
		sig := systemdPowerOff
		if mode == agentproto.Reboot {
			sig = systemdReboot
		}
		return unix.Kill(1, sig)
	case initProgram() == "init":
		if program := shutdownProgram(mode); program != "" {
			return start(program)
		}
	}
	go func() {
		time.Sleep(endDelay)
		unix.Kill(-1, unix.SIGTERM) // everybody but PID 1 and this process
		time.Sleep(termGrace)
		unix.Kill(-1, unix.SIGKILL)
		unix.Sync()
		l.end(mode)
	}()
	return nil
}

// endDelay lets the reply leave before the machine is gone.
const endDelay = 50 * time.Millisecond

// end calls reboot(2). Everything is synced.
func (Linux) end(mode agentproto.ShutdownMode) {
	time.Sleep(endDelay)
	cmd := unix.LINUX_REBOOT_CMD_POWER_OFF
	if mode == agentproto.Reboot {
		cmd = unix.LINUX_REBOOT_CMD_RESTART
	}
	if err := unix.Reboot(cmd); err != nil {
		os.Stderr.WriteString("clone-agent: reboot: " + err.Error() + "\n")
	}
}

// initProgram is the command name of PID 1.
func initProgram() string {
	text, err := os.ReadFile("/proc/1/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func shutdownProgram(mode agentproto.ShutdownMode) string {
	name := "poweroff"
	if mode == agentproto.Reboot {
		name = "reboot"
	}
	for _, dir := range []string{"/sbin/", "/usr/sbin/", "/bin/"} {
		if exists(dir + name) {
			return dir + name
		}
	}
	return ""
}

// start runs a program that nobody waits for but a goroutine that reaps it.
func start(program string) error {
	p, err := os.StartProcess(program, []string{program}, &os.ProcAttr{
		Dir: "/", Env: []string{"PATH=" + defaultPath},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	go p.Wait()
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
