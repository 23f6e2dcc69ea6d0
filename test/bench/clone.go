package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// guest is what both monitors run.
type guest struct {
	kernel, image string // paths
	memoryMiB     int
}

// clone runs the clone program as a user does, with templates and VMs of its own below dir.
type clone struct {
	program string
	dir     string
}

// endPatience is how long a clone command that was interrupted may take to end in order.
const endPatience = 20 * time.Second

// command prepares a clone command.
func (c clone) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Env = append(os.Environ(), "CLONE_HOME="+filepath.Join(c.dir, "home"), "CLONE_RUNTIME_DIR="+filepath.Join(c.dir, "run"))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endPatience
	return cmd
}

func (c clone) run(ctx context.Context, args ...string) (string, error) {
	cmd := c.command(ctx, args...)
	var message bytes.Buffer
	cmd.Stderr = &message
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("clone %s: %w: %s%s", strings.Join(args, " "), err, out, message.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// replyTimes is how long a new VM took to answer its first command.
type replyTimes struct {
	start time.Duration // the command that starts the VM, until its agent answered and it ended
	total time.Duration // and until `clone exec -- true` ended
}

// firstReply starts a VM and runs a command in it.
func (c clone) firstReply(ctx context.Context, start ...string) (vm string, t replyTimes, err error) {
	began := time.Now()
	if vm, err = c.run(ctx, append(start, "--detach")...); err != nil {
		return "", t, err
	}
	t.start = time.Since(began)
	_, err = c.run(ctx, "exec", "--vm-id", vm, "--", "true")
	t.total = time.Since(began)
	return vm, t, err
}

// coldBoot boots the guest to its first reply.
func (c clone) coldBoot(ctx context.Context, g guest) (vm string, t replyTimes, err error) {
	return c.firstReply(ctx, "run", "--kernel", g.kernel, "--rootfs", g.image, "--overlay", "--mem-mb", fmt.Sprint(g.memoryMiB))
}

func (c clone) fork(ctx context.Context) (vm string, t replyTimes, err error) {
	return c.firstReply(ctx, "fork", "--template", templateName)
}

// call forks, runs a command in the fork and ends it, in one process. It returns when the command's output arrived.
func (c clone) call(ctx context.Context) (took time.Duration, err error) {
	began := time.Now()
	answer := ""
	err = c.lines(ctx, func(line string) {
		if answer == "" {
			answer, took = line, time.Since(began)
		}
	}, "fork", "--template", templateName, "--", "echo", "here")
	if err == nil && answer != "here" {
		err = fmt.Errorf("the fork answered %q", answer)
	}
	return took, err
}

const templateName = "bench"

// warm waits in the guest until its own start-up is over.
func (c clone) warm(ctx context.Context, vm string) error {
	_, err := c.run(ctx, append([]string{"exec", "--vm-id", vm, "--"}, awaitSystemd...)...)
	return err
}

// awaitSystemd is a command for a guest. Right after the boot there is no systemd to ask yet, and what starts last has not
// gone to sleep when systemd says so.
var awaitSystemd = []string{"sh", "-c", `
	for i in $(seq 900); do
		case $(systemctl is-system-running 2>/dev/null) in running|degraded) sleep 5; exit 0; esac
		sleep 0.2
	done
	systemctl is-system-running --quiet`}

// saved is what `clone snapshot --json` says.
type saved struct {
	Pause  int64 `json:"pause_nanoseconds"`
	Total  int64 `json:"total_nanoseconds"`
	Memory int64 `json:"memory_bytes"`
}

func (c clone) snapshot(ctx context.Context, vm string) (s saved, err error) {
	out, err := c.run(ctx, "snapshot", "--vm-id", vm, "--name", templateName, "--settle=2m", "--json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

func (c clone) pid(ctx context.Context, vm string) (int, error) {
	out, err := c.run(ctx, "status", "--json", vm)
	if err != nil {
		return 0, err
	}
	var s struct{ PID int }
	err = json.Unmarshal([]byte(out), &s)
	if err == nil && s.PID <= 0 {
		err = errors.New("status tells no process")
	}
	return s.PID, err
}

func (c clone) destroy(ctx context.Context, vm string) error {
	_, err := c.run(ctx, "destroy", "--force", vm)
	return err
}

// end leaves nothing behind, whatever happened before: its ctx is not the one that may be over by now.
func (c clone) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := c.run(ctx, "destroy", "--all", "--force")
	return err
}
