package agentd

import (
	"os"
	"runtime"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// Program is what the agent calls itself in its Hello; the linker may set it.
var Program = "clone-agent 1"

// Main runs the agent until its listening socket fails and returns the exit
// status of the process.
func Main() int {
	// Two processors let one command's output and another's input run side by
	// side; more would only keep more caches, and more threads that wake each
	// other up. Setting it also stops the runtime from looking for changed cgroup
	// limits every second.
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	memory.idle()
	// The program was started from a memfd, whose descriptor's number would be its name in ps.
	_ = os.WriteFile("/proc/self/comm", []byte("clone-agent"), 0)
	unix.Umask(0o022)
	if err := os.Chdir("/"); err != nil {
		os.Stderr.WriteString("clone-agent: " + err.Error() + "\n")
		return 1
	}

	l, err := ListenVsock(agentproto.Port)
	if err == nil {
		s := &Server{System: Linux{}}
		err = s.Serve(l)
	}
	os.Stderr.WriteString("clone-agent: " + err.Error() + "\n")
	return 1
}
