package testhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"clone/internal/testhost/inside"

	"golang.org/x/sys/unix"
)

// consoleLines is how much of the console a HostError shows.
const consoleLines = 100

// silence is how long nothing may come from a host: far longer than it takes to
// boot, or to get a turn in one where a hundred guests run.
const silence = 2 * time.Minute

// runEmulated runs the command of a complete cfg in an emulated host.
func runEmulated(ctx context.Context, cfg Config) (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("the emulated host needs root, to serve this machine's root file system to it: use sudo")
	}
	if strings.ContainsAny(cfg.CacheDir, " \t\n\"") {
		return 0, fmt.Errorf("cache directory %q: a kernel command line cannot name it: set CLONE_CACHE to a path without spaces", cfg.CacheDir)
	}
	kernel, err := fetchHostKernel(ctx, cfg.CacheDir, cfg.Log)
	if err != nil {
		return 0, err
	}
	runDir, held, err := newRunDir(ctx, cfg.CacheDir)
	if err != nil {
		return 0, err
	}
	defer held.Close()
	defer os.RemoveAll(runDir)
	if err := inside.WriteOrder(runDir, cfg.order(kernel)); err != nil {
		return 0, err
	}
	if err := os.Symlink(cfg.Init, filepath.Join(runDir, inside.InitName)); err != nil {
		return 0, err
	}

	// The kernel ends the children when the thread that started them ends, so
	// this goroutine keeps that thread until they are gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fs, err := startFileServer(runDir)
	if err != nil {
		return 0, err
	}
	defer fs.end()
	qemu, port, err := startQEMU(cfg, kernel.image, runDir)
	if err != nil {
		return 0, err
	}
	// In the end, and when ctx is done: without QEMU the port ends, too.
	defer qemu.end()
	defer context.AfterFunc(ctx, qemu.kill)()
	defer port.Close()

	exit, err := converse(port, cfg, silence)
	if err == nil {
		return exit, nil
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	qemu.end()
	return 0, diagnose(err, runDir, qemu, fs)
}

// converse feeds the command and passes its output on until its status comes, or
// nothing for as long as silence.
func converse(port net.Conn, cfg Config, silence time.Duration) (int, error) {
	frames := inside.NewFrameWriter(port)
	go inside.SendAlive(frames, inside.AliveInterval) // until the port is closed
	if cfg.Stdin != nil {
		// Nobody waits for this goroutine: only its reader knows when it ends.
		go func() {
			if frames.Copy(inside.Stdin, cfg.Stdin) == nil {
				frames.Write(inside.Stdin, nil)
			}
		}()
	}
	for r := bufio.NewReader(port); ; {
		if err := awaitSign(port, r, silence); err != nil {
			return 0, err
		}
		kind, payload, err := inside.ReadFrame(r)
		if err != nil {
			return 0, err
		}
		switch kind {
		case inside.Stdout:
			_, err = cfg.Stdout.Write(payload)
		case inside.Stderr:
			_, err = cfg.Stderr.Write(payload)
		case inside.Result:
			return inside.ParseStatus(payload)
		}
		if err != nil {
			return 0, fmt.Errorf("pass the command's output on: %w", err)
		}
	}
}

// awaitSign waits for a frame to begin, for as long as silence. Then it looks once
// more: it may be this process that stood still, and not the host.
func awaitSign(port net.Conn, r *bufio.Reader, silence time.Duration) error {
	for _, patience := range []time.Duration{silence, silence / 20} {
		if err := port.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, err := r.Peek(1)
		switch {
		case err == nil:
			return port.SetReadDeadline(time.Now().Add(silence)) // for the rest of it
		case err == io.EOF:
			return errors.New("the host died before the command ended")
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
	}
	return fmt.Errorf("the host has given no sign of life for %s", silence)
}

// diagnose makes a HostError of err and what the host left behind.
func diagnose(err error, runDir string, qemu, fs *child) error {
	// Without a console there is nothing to show.
	log, _ := os.ReadFile(filepath.Join(runDir, consoleName))
	console := consoleTail(log, consoleLines)
	if text := strings.TrimSpace(qemu.messages.String()); text != "" {
		err = fmt.Errorf("%w; QEMU says: %s", err, text)
	}
	// virtiofsd always says something; it matters only when the host came to nothing.
	if text := strings.TrimSpace(fs.messages.String()); text != "" && console == "" {
		err = fmt.Errorf("%w; virtiofsd says: %s", err, text)
	}
	return &HostError{Err: err, Console: console}
}

// startFileServer starts virtiofsd on a socket in runDir.
func startFileServer(runDir string) (*child, error) {
	program, err := findProgram("virtiofsd", "/usr/libexec", "/usr/lib/qemu")
	if err != nil {
		return nil, err
	}
	// Listening before anyone connects, so that nobody has to wait.
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(runDir, fsSocketName), Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close()
	socket, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	return startChild(exec.Command(program, virtiofsdArgs()...), socket)
}

// startQEMU returns this side's end of the port, too.
func startQEMU(cfg Config, image, runDir string) (*child, net.Conn, error) {
	program, err := findProgram("qemu-system-x86_64")
	if err != nil {
		return nil, nil, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "port"), os.NewFile(uintptr(fds[1]), "port")
	defer ours.Close()
	defer theirs.Close()
	port, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, err
	}
	m := machine{memoryMiB: cfg.MemoryMiB, image: image, runDir: runDir, extra: cfg.QEMUArgs}
	qemu, err := startChild(exec.Command(program, qemuArgs(m)...), theirs)
	if err != nil {
		port.Close()
		return nil, nil, err
	}
	return qemu, port, nil
}

// A child is a process that ends with this one, whatever ends this one.
type child struct {
	messages *headBuffer // what it wrote to its standard output and error
	cmd      *exec.Cmd
}

// startChild must be called on a locked thread that outlives the child.
func startChild(cmd *exec.Cmd, extra *os.File) (*child, error) {
	c := &child{messages: &headBuffer{}, cmd: cmd}
	cmd.ExtraFiles = []*os.File{extra}
	cmd.Stdout, cmd.Stderr = c.messages, c.messages
	// Its own group: a Ctrl-C on the terminal is for us alone, who ends it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return c, nil
}

func (c *child) kill() { c.cmd.Process.Kill() }

// end kills the child and waits until it is gone. It may be called again.
func (c *child) end() {
	c.kill()
	c.cmd.Wait()
}

// A headBuffer keeps the first KiB written to it.
type headBuffer struct{ strings.Builder }

func (b *headBuffer) Write(p []byte) (int, error) {
	b.Builder.Write(p[:min(len(p), 1024-b.Len())])
	return len(p), nil
}
