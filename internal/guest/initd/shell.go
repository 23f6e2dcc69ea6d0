package initd

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// runShell runs a shell on the console. When it ends, so does the machine.
func runShell() error {
	console := consoleDevice()
	fd, err := unix.Open(console, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return explain("open the console "+console, err)
	}
	defer unix.Close(fd)
	pid, err := syscall.ForkExec(shell, []string{"-sh"}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   append(environment(os.Environ()), "HOME=/root", "PS1=# "),
		Files: []uintptr{uintptr(fd), uintptr(fd), uintptr(fd)},
		// Ctty is a descriptor of the child: the shell's standard input.
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
	if err != nil {
		return explain("run "+shell, err)
	}
	return reap(pid)
}

// consoleDevice returns the terminal behind /dev/console, which itself can be
// nobody's controlling terminal.
func consoleDevice() string {
	text, err := os.ReadFile("/sys/class/tty/console/active")
	if err == nil {
		if device, ok := activeConsole(string(text)); ok {
			return device
		}
	}
	return "/dev/console"
}

// activeConsole picks the last of the kernel's consoles, the one that
// /dev/console stands for.
func activeConsole(text string) (device string, ok bool) {
	names := strings.Fields(text)
	if len(names) == 0 || strings.Contains(names[len(names)-1], "/") {
		return "", false
	}
	return "/dev/" + names[len(names)-1], true
}
