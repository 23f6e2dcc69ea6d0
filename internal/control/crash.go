package control

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// logName is the file in a VM's directory that takes the standard error of a detached VM's process: nothing, unless the Go
// runtime dies and says why.
const logName = "log"

// maxCrashLog is how many bytes of it are looked at. Its first lines tell.
const maxCrashLog = 16 << 10

// Log is the path of the file for the standard error of the VM's process, once nobody reads that any more.
func (d *Dir) Log() string { return filepath.Join(d.Path(), logName) }

// bury records the end of a VM whose process did not do so itself. The caller has seen that it is dead. A VM without a
// readable Info was only half made: nobody knew of it.
func (r *Registry) bury(info Info, how string) {
	if info.PID == 0 {
		return
	}
	why, atLimit := leaveGroup(info)
	if why != "" {
		how = why
	}
	if how == "" {
		how = fmt.Sprintf("its process was killed or crashed (process %d)", info.PID)
		if info.State == Starting {
			how += " while it was starting"
		}
	}
	if b, err := readStart(filepath.Join(r.Dir(info.ID), logName), maxCrashLog); err == nil {
		if said := crashWords(string(b)); said != "" {
			how += ": " + said
		}
	}
	// No record is no reason to leave the directory.
	_ = r.record(Ended{Info: info, Ended: time.Now(), Status: StatusUnknown, Reason: how, AtLimit: atLimit})
}

// crashWords finds in what a process said before it died the lines that tell why: the beginning of a panic or of a fatal
// error of the Go runtime and the signal that belongs to it, else the last line.
func crashWords(text string) string {
	var found []string
	var last string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.Map(func(c rune) rune {
			if c < ' ' || c > '~' {
				return -1
			}
			return c
		}, line))
		switch {
		case strings.HasPrefix(line, "goroutine ") && len(found) > 0:
			return strings.Join(found, " ") // the stacks follow
		case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "),
			strings.HasPrefix(line, "unexpected fault address"), strings.HasPrefix(line, "[signal "), strings.HasPrefix(line, "SIG"):
			found = append(found, line)
		case line != "":
			last = line
		}
	}
	if len(found) > 0 {
		return strings.Join(found, " ")
	}
	return last
}

// readStart reads at most limit bytes of a file, and follows no link.
func readStart(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
