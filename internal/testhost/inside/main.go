package inside

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// IsInit reports whether this process was started as process 1 of an emulated
// host. A program that may be must ask first thing, and then call Main.
func IsInit() bool {
	return os.Getpid() == 1 && filepath.Base(os.Args[0]) == InitName
}

// Main does what the run directory's order says and ends the host. It does not
// return.
func Main() {
	exit, port, err := carryOut(filepath.Dir(os.Args[0]))
	// What was written through must have arrived before the other side sees
	// the status, because it ends this host at once.
	unix.Sync()
	if err := report(port, exit, err); err != nil {
		fmt.Fprintln(os.Stderr, "test host:", err)
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// carryOut returns the port, nil if it did not get that far, with the command's
// exit status or the reason why the host failed.
func carryOut(runDir string) (exit int, port *os.File, err error) {
	// The kernel gives process 1 no PATH.
	os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	order, err := readOrder(runDir)
	if err != nil {
		return 0, nil, err
	}
	if err := setUp(order); err != nil {
		return 0, nil, err
	}
	if port, err = openPort(); err != nil {
		return 0, nil, err
	}
	go SendAlive(NewFrameWriter(port), AliveInterval) // for as long as this host lives
	exit, err = execute(order, port)
	return exit, port, err
}

// report sends the status; without a port the reason is only on the console.
func report(port *os.File, exit int, failure error) error {
	status := Status{Exit: exit}
	if failure != nil {
		status.Error = failure.Error()
	}
	if port == nil {
		return failure
	}
	b, err := json.Marshal(status)
	if err != nil {
		return err
	}
	return NewFrameWriter(port).Write(Result, b)
}

// openPort waits for the port to appear: the kernel learns of it while process 1
// is already running.
func openPort() (*os.File, error) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		path, err := findPort()
		if err == nil {
			var f *os.File
			if f, err = os.OpenFile(path, os.O_RDWR, 0); err == nil {
				return f, nil
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the virtio-serial port %q did not appear: %w", PortName, err)
		}
	}
}

// findPort returns the device whose port has the name PortName. The device's own
// name depends on the order in which the kernel found the virtio devices.
func findPort() (string, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return "", err
	}
	for _, path := range names {
		if name, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(name)) == PortName {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(path))), nil
		}
	}
	return "", os.ErrNotExist
}
