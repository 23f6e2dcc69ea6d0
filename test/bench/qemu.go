package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"clone/internal/boot"
	"clone/internal/initrd"
	"clone/internal/initrd/bootconf"
)

// qemu runs the same guest as clone does: kernel, kind of initrd, command line, image, overlay, memory, processors and agent.
// Its machine is the leanest that QEMU has: microvm, with virtio-mmio devices in ACPI, and qboot, which needs no option ROM.
type qemu struct {
	guest
	dir     string // its files
	initrd  string // path, in dir
	cmdline string
}

const (
	qemuProgram = "qemu-system-x86_64"
	qemuCID     = 77
)

// restoring is a way to restore a saved guest.
type restoring string

const (
	// streamed: all of memory is read out of the migration stream.
	streamed restoring = "stream"
	// mapped: memory is mapped from a file, as QEMU's users make VM templates. x-ignore-shared leaves memory that is mapped
	// shared out of the stream; the copies map its file privately.
	mapped restoring = "state"
)

func (r restoring) String() string {
	if r == mapped {
		return "QEMU restoring the same guest with its memory mapped"
	}
	return "QEMU restoring the same guest out of a migration stream"
}

func newQEMU(g guest, dir string) (*qemu, error) {
	q := &qemu{guest: g, dir: dir, initrd: filepath.Join(dir, "initrd"), cmdline: boot.Cmdline("systemd.hostname=qemu", nil)}
	kernel, err := boot.ReadImage(g.kernel, "")
	if err != nil {
		return nil, err
	}
	version, err := boot.KernelVersion(kernel)
	if err != nil {
		return nil, err
	}
	modules, err := initrd.FindModules(g.kernel, version)
	if err != nil {
		return nil, err
	}
	archive, err := initrd.Build(initrd.Config{
		KernelVersion: version, ModuleDir: modules,
		Guest: bootconf.Config{Root: bootconf.RootOverlay, Hostname: "qemu"},
	})
	if err != nil {
		return nil, err
	}
	return q, os.WriteFile(q.initrd, archive, 0o600)
}

func (q *qemu) path(name string) string { return filepath.Join(q.dir, name) }

// stream is the file that a way of restoring reads.
func (q *qemu) stream(r restoring) string { return q.path(string(r)) }

// args are those that the saved and the restored machine share. memory is the backend called mem.
func (q *qemu) args(memory string) []string {
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio", "-serial", "null",
		"-machine", "microvm,accel=kvm,acpi=on,x-option-roms=off,memory-backend=mem",
		"-object", memory, "-m", fmt.Sprint(q.memoryMiB), "-smp", "1", "-cpu", "host",
		"-global", "virtio-mmio.force-legacy=false",
		// The lock: clone has the image open, read-only as it is here.
		"-drive", "if=none,id=root,format=raw,readonly=on,file.locking=off,file=" + q.image,
		"-device", "virtio-blk-device,drive=root",
		"-device", fmt.Sprintf("vhost-vsock-device,guest-cid=%d", qemuCID),
		"-device", "virtio-rng-device",
	}
}

// backend is the guest's memory.
func (q *qemu) backend(r restoring, share string) string {
	if r == streamed {
		return fmt.Sprintf("memory-backend-ram,id=mem,size=%dM", q.memoryMiB)
	}
	return fmt.Sprintf("memory-backend-file,id=mem,size=%dM,share=%s,mem-path=%s", q.memoryMiB, share, q.path("memory"))
}

// save boots the guest, waits until it is warm, and writes what each way of restoring needs.
func (q *qemu) save(ctx context.Context) error {
	args := append(q.args(q.backend(mapped, "on")), "-kernel", q.kernel, "-initrd", q.initrd, "-append", q.cmdline)
	p, err := startQEMU(ctx, args)
	if err != nil {
		return err
	}
	defer p.end()
	if err := guestCommand(ctx, qemuCID, awaitSystemd...); err != nil {
		return p.failed(err)
	}
	if err := p.saveFor(ctx, q); err != nil {
		return p.failed(err)
	}
	return nil
}

// saveFor writes the guest twice. It is not stopped first: so its copies run as soon as they are restored, without a
// command to wait for.
func (p *qemuProcess) saveFor(ctx context.Context, q *qemu) error {
	if err := p.enable("events"); err != nil {
		return err
	}
	if err := p.migrate("exec:cat > " + q.stream(streamed)); err != nil {
		return err
	}
	// The stream is complete a moment before the machine can go on.
	if err := p.awaitStatus(ctx, "postmigrate"); err != nil {
		return err
	}
	if err := p.do("cont", nil); err != nil {
		return err
	}
	if err := p.enable("x-ignore-shared"); err != nil {
		return err
	}
	return p.migrate("exec:cat > " + q.stream(mapped))
}

// restore starts a copy of the saved guest and returns how long it took to answer its first command. The kernel is not
// given: the guest does not need it any more, and QEMU would read it.
func (q *qemu) restore(ctx context.Context, r restoring) (time.Duration, error) {
	began := time.Now()
	uri := "exec:cat " + q.stream(r)
	args := append(q.args(q.backend(r, "off")), "-incoming")
	if r == mapped {
		args = append(args, "defer") // until the capability is set
	} else {
		args = append(args, uri)
	}
	p, err := startQEMU(ctx, args)
	if err != nil {
		return 0, err
	}
	defer p.end()
	if r == mapped {
		if err := p.enable("x-ignore-shared"); err != nil {
			return 0, p.failed(err)
		}
		if err := p.do("migrate-incoming", map[string]any{"uri": uri}); err != nil {
			return 0, p.failed(err)
		}
	}
	err = guestCommand(ctx, qemuCID, "true")
	took := time.Since(began)
	if err != nil {
		return 0, p.failed(err)
	}
	return took, nil
}

// qemuProcess is a running QEMU.
type qemuProcess struct {
	*qmp
	cmd      *exec.Cmd
	messages bytes.Buffer
}

// startQEMU starts QEMU and greets it. It lives no longer than ctx.
func startQEMU(ctx context.Context, args []string) (*qemuProcess, error) {
	p := &qemuProcess{cmd: exec.CommandContext(ctx, qemuProgram, args...)}
	p.cmd.Stderr = &p.messages
	p.cmd.WaitDelay = time.Second // its children may hold the pipes
	w, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if p.qmp, err = newQMP(r, w); err != nil {
		return nil, p.failed(err)
	}
	return p, nil
}

// failed ends QEMU and adds what it said.
func (p *qemuProcess) failed(err error) error {
	p.end()
	return fmt.Errorf("%s: %w; it says: %s", qemuProgram, err, p.messages.String())
}

// end kills QEMU and waits until it is gone. It may be called again.
func (p *qemuProcess) end() {
	if err := p.cmd.Process.Kill(); err == nil || errors.Is(err, os.ErrProcessDone) {
		_ = p.cmd.Wait() // that it was killed, or was waited for before
	}
}
