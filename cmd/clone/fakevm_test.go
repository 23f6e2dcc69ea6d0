package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"clone/internal/console"
	"clone/internal/control"
	"clone/internal/guest/agentd"
)

// fakeVM is a process that is a VM to the commands under test: it has a directory, the real control server, the real
// guest agent behind its vsock socket, and a console that echoes what is typed, in brackets. Its arguments are its name
// and what it does not do:
//
//	stubborn   it refuses to shut down, and to stop
//	agentless  it has no agent
//	leaving    it ends in order already: its control socket is gone, and it is gone itself after a SIGTERM
//	panics     instead of shutting down its guest asks for a reset
//	dying      it was killed, and the kernel takes a moment: its process has no memory any more, and still its files
//	crashes    instead of shutting down its process dies of a fault of its own
func fakeVM() {
	if err := runFakeVM(os.Args[1], os.Args[2:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func runFakeVM(name string, faults []string) error {
	registry, err := control.Open()
	if err != nil {
		return err
	}
	dir, err := registry.Create(control.Info{
		Name: strings.TrimPrefix(name, "-"), State: control.Running, VCPUs: 2, MemoryMiB: 512, CID: 42, Template: "base", Version: version,
	})
	if err != nil {
		return err
	}
	m := &fakeMachine{dir: dir, ended: make(chan struct{})}
	m.console = console.New(func(p []byte) { fmt.Fprintf(m.console, "[%s]", p) })
	io.WriteString(m.console, "login: ")
	agent, leaving := true, false
	for _, f := range faults {
		m.stubborn = m.stubborn || f == "stubborn"
		m.panics = m.panics || f == "panics"
		m.crashes = m.crashes || f == "crashes"
		agent = agent && f != "agentless"
		leaving = leaving || f == "leaving"
	}
	l, err := dir.Listen()
	if err != nil {
		return err
	}
	if agent {
		vsock, err := net.Listen("unix", dir.VsockSocket())
		if err != nil {
			return err
		}
		server := &agentd.Server{System: agentd.Linux{}}
		go server.Serve(vsockListener{vsock})
	}
	asked := make(chan os.Signal, 1)
	if leaving {
		signal.Notify(asked, unix.SIGTERM)
		l.Close()
		go func() {
			<-asked
			close(m.ended)
		}()
	}
	if slices.Contains(faults, "dying") {
		die(dir.Info().ID)
	}
	fmt.Println(dir.Info().ID)
	served := make(chan error)
	go func() { served <- control.Serve(l, m) }()
	<-m.ended
	m.console.Close()
	l.Close()
	status, reason := 0, "the guest powered off"
	if m.panics {
		status, reason = statusReboot, "the guest asked for a reset (reboot or panic); on its console: Kernel panic - not syncing: why"
	}
	return errors.Join(<-served, dir.SetEnd(status, reason, ""), dir.Close())
}

func init() {
	if filepath.Base(os.Args[0]) == "fakevm" {
		runtime.LockOSThread() // main runs on the process's first thread, see die
	}
}

// die makes of the process what it is while the kernel ends it: the first thread has gone, and with it what can be seen of its
// memory; files are closed with the last thread, a moment after the id is printed.
func die(id string) {
	go func() {
		for {
			if smaps, err := os.ReadFile("/proc/self/smaps"); err != nil || len(smaps) == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		fmt.Println(id)
		time.Sleep(500 * time.Millisecond)
		unix.Kill(os.Getpid(), unix.SIGKILL)
	}()
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

type fakeMachine struct {
	dir      *control.Dir
	console  *console.Console
	stubborn bool
	panics   bool
	crashes  bool
	ended    chan struct{}
}

func (m *fakeMachine) Info() control.Info { return m.dir.Info() }
func (m *fakeMachine) PowerButton() error { return nil }
func (m *fakeMachine) Pause() error       { return m.dir.SetState(control.Paused) }
func (m *fakeMachine) Resume() error      { return m.dir.SetState(control.Running) }

func (m *fakeMachine) Snapshot(context.Context, control.SnapshotRequest) (control.SnapshotResult, error) {
	return control.SnapshotResult{}, errors.New("not here")
}

func (m *fakeMachine) Shutdown(ctx context.Context, _ control.ShutdownRequest) error {
	if m.stubborn {
		<-ctx.Done()
		return ctx.Err()
	}
	if m.crashes {
		redirect(2, m.dir.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND) // as a detached VM has it
		go func() { panic("a fault of its own") }()
		select {}
	}
	io.WriteString(m.console, "Power down")
	close(m.ended)
	return nil
}

func (m *fakeMachine) Console() (io.ReadWriteCloser, error) { return m.console.Attach(), nil }

// vsockListener answers the handshake of the vsock socket: "CONNECT port\n", "OK port\n".
type vsockListener struct{ net.Listener }

func (l vsockListener) Accept() (io.ReadWriteCloser, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, err := bufio.NewReaderSize(c, 16).ReadString('\n') // the client sends no more before it has the answer
		if err == nil && strings.HasPrefix(line, "CONNECT ") {
			c.SetReadDeadline(time.Time{})
			if _, err := io.WriteString(c, "OK 1073741824\n"); err == nil {
				return c, nil
			}
		}
		c.Close()
	}
}
