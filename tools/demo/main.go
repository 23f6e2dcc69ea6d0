// Command demo shows what Clone is for: it boots Debian as a template, snapshots it, forks ten live copies, runs a command
// in each, and prints a table of times and memory. It calls the clone program as a user would; `make demo` runs it on a
// KVM host.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const forks = 10

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// fork is one line of the table.
type fork struct {
	id, hostname, random string
	reply                time.Duration // from `clone fork` to the first command's answer
}

func demo(ctx context.Context) (err error) {
	home, err := os.MkdirTemp("", "clone-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	c := &cli{ctx: ctx, env: append(os.Environ(), "CLONE_HOME="+home, "CLONE_RUNTIME_DIR="+filepath.Join(home, "run"))}
	// Whatever happens, no VM is left. The demo's own ctx may be over by then.
	defer func() {
		last := &cli{ctx: context.Background(), env: c.env}
		_, destroyErr := last.run("destroy", "--all", "--force")
		err = errors.Join(err, destroyErr)
	}()

	cache := os.Getenv("CLONE_CACHE")
	kernel, image := filepath.Join(cache, "kernels", "6.12", "vmlinuz"), filepath.Join(cache, "debian.ext4")
	fmt.Printf("Booting Debian (%s, 256 MiB, 1 vCPU) from %s ...\n", kernel, image)
	began := time.Now()
	template, err := c.run("run", "--kernel", kernel, "--rootfs", image, "--overlay", "--mem-mb", "256", "--detach", "--name", "template")
	if err != nil {
		return err
	}
	if _, err := c.run(append([]string{"exec", "--vm-id", template, "--"}, whoAmI...)...); err != nil {
		return err
	}
	cold := time.Since(began)
	fmt.Printf("  first reply after %v; waiting for systemd ...\n", cold.Round(time.Millisecond))
	// The agent answers before systemd does, so asking systemd to wait could be too early.
	const wait = "until systemctl is-system-running 2>/dev/null | grep -qx running; do sleep 0.2; done"
	if _, err := c.run("exec", "--vm-id", template, "--", "sh", "-c", wait); err != nil {
		return fmt.Errorf("Debian did not come up: %w", err)
	}
	fmt.Printf("  warm after %v\n", time.Since(began).Round(time.Millisecond))

	fmt.Println("Snapshot ...")
	if _, err := c.run("snapshot", "--vm-id", template, "--name", "base", "--settle=2m"); err != nil {
		return err
	}
	if _, err := c.run("destroy", template); err != nil {
		return err
	}

	fmt.Printf("Forking %d ...\n", forks)
	var list []fork
	for range forks {
		f, err := c.fork()
		if err != nil {
			return err
		}
		list = append(list, f)
	}
	if err := distinct(list); err != nil {
		return err
	}
	return table(c, list, cold)
}

// whoAmI is a command that answers with the host name and a random number of 128 bits.
var whoAmI = []string{"cat", "/proc/sys/kernel/hostname", "/proc/sys/kernel/random/uuid"}

// fork forks the template and runs a command in the copy.
func (c *cli) fork() (f fork, err error) {
	began := time.Now()
	if f.id, err = c.run("fork", "--template", "base", "--detach"); err != nil {
		return f, err
	}
	answer, err := c.run(append([]string{"exec", "--vm-id", f.id, "--"}, whoAmI...)...)
	f.reply = time.Since(began)
	if err != nil {
		return f, err
	}
	lines := strings.Fields(answer)
	if len(lines) != 2 || len(lines[1]) != 36 {
		return f, fmt.Errorf("fork %s answered %q", f.id, answer)
	}
	f.hostname, f.random = lines[0], strings.ReplaceAll(lines[1], "-", "")[:16]
	return f, nil
}

// distinct checks what makes the forks machines of their own.
func distinct(list []fork) error {
	seen := map[string]bool{}
	for _, f := range list {
		if seen[f.hostname] || seen[f.random] {
			return fmt.Errorf("fork %s has a sibling's hostname or random numbers", f.id)
		}
		seen[f.hostname], seen[f.random] = true, true
	}
	return nil
}

// cli runs the clone program.
type cli struct {
	ctx context.Context
	env []string
}

func (c *cli) run(args ...string) (string, error) {
	cmd := exec.CommandContext(c.ctx, "bin/clone", args...)
	cmd.Env = c.env
	var message strings.Builder
	cmd.Stderr = &message
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("clone %s: %w: %s%s", strings.Join(args, " "), err, out, message.String())
	}
	return strings.TrimSpace(string(out)), nil
}
