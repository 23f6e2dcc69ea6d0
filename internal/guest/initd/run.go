package initd

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"clone/internal/initrd/bootconf"
)

// Run boots the guest. It does not return: it ends in another program, or with
// the machine.
func Run() {
	if os.Getpid() != 1 {
		say("this is PID 1 of a virtual machine's initrd; it does nothing elsewhere")
		os.Exit(2)
	}
	err := boot()
	say(err.Error())
	// A reset, not a power-off: whoever watches the VM sees that it did not
	// end well.
	end(unix.LINUX_REBOOT_CMD_RESTART)
}

// boot returns only errors.
func boot() error {
	if err := mountKernelFilesystems(); err != nil {
		return err
	}
	openConsole()
	cfg, err := readConfig()
	if err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	if cfg.HasRoot() {
		if err := mountRoot(cfg); err != nil {
			return err
		}
	}
	agent, err := agentFile()
	if err != nil {
		return err
	}
	if cfg.HasRoot() {
		if err := switchRoot(newRoot); err != nil {
			return err
		}
	}
	if err := mountRuntime(); err != nil {
		return err
	}
	if cfg.Hostname != "" {
		if err := unix.Sethostname([]byte(cfg.Hostname)); err != nil {
			return explain("set the hostname", err)
		}
	}
	if err := startAgent(agent); err != nil {
		return err
	}
	if cfg.HasRoot() {
		return handOver(cfg)
	}
	loopbackUp()
	return reap(nothing)
}

// readConfig merges the initrd's file and the kernel command line.
func readConfig() (bootconf.Config, error) {
	text, err := os.ReadFile(bootconf.ConfigPath)
	if err != nil {
		return bootconf.Config{}, explain("read the configuration", err)
	}
	cfg, err := bootconf.ParseConfig(string(text))
	if err != nil {
		return cfg, explain("read the configuration", err)
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return cfg, explain("read the kernel command line", err)
	}
	bootconf.ParseCmdline(string(cmdline)).Override(&cfg)
	return cfg, cfg.Validate()
}

// say writes one line to the console.
func say(line string) {
	_, _ = os.Stderr.WriteString("clone-init: " + strings.ReplaceAll(line, "\n", "; ") + "\n")
}

// explain says what failed; it is fmt.Errorf's %w without fmt.
func explain(what string, err error) error {
	return &bootError{what: what, err: err}
}

type bootError struct {
	what string
	err  error
}

func (e *bootError) Error() string { return "cannot " + e.what + ": " + e.err.Error() }
func (e *bootError) Unwrap() error { return e.err }

var errTooLarge = errors.New("file is too large")
