package initd

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"clone/internal/initrd/bootconf"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// inits are the programs that the kernel itself tries (init/main.c), without
// the shell, which needs a terminal and somebody to reap.
var inits = []string{"/sbin/init", "/etc/init", "/bin/init"}

const shell = "/bin/sh"

// handOver becomes the distribution's init, or runs a shell where there is
// none.
func handOver(cfg bootconf.Config) error {
	program := cfg.Init
	if program == "" {
		for _, p := range inits {
			if unix.Access(p, unix.X_OK) == nil {
				program = p
				break
			}
		}
	}
	if program == "" {
		if err := unix.Access(shell, unix.X_OK); err != nil {
			return explain("find an init program ("+strings.Join(inits, ", ")+" or "+shell+") in the root file system", err)
		}
		loopbackUp()
		return runShell()
	}
	// The kernel gave us the words of its command line that it does not know
	// ("single", "emergency", what follows "--"): they are for the real init.
	argv := append([]string{program}, os.Args[1:]...)
	err := unix.Exec(program, argv, environment(os.Environ()))
	return explain("run init program "+program, err)
}

// environment completes what the kernel gave us.
func environment(env []string) []string {
	have := func(key string) bool {
		for _, e := range env {
			if strings.HasPrefix(e, key+"=") {
				return true
			}
		}
		return false
	}
	if !have("PATH") {
		env = append(env, "PATH="+defaultPath)
	}
	if !have("TERM") {
		env = append(env, "TERM=linux")
	}
	return env
}
