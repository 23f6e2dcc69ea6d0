package main

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clone/internal/agent"
	"clone/internal/agentproto"
)

// greet is a client of a fake agent that has greeted it: what follows on guest is the test's.
func greet(t *testing.T, wrap func(net.Conn) net.Conn) (client *agent.Client, guest net.Conn) {
	t.Helper()
	host, guest := net.Pipe()
	t.Cleanup(func() { guest.Close() })
	greeted := make(chan error, 1)
	go func() {
		h, _, err := agentproto.NewReader(guest).Next()
		if err == nil {
			var frame []byte
			if frame, err = agentproto.AppendFrame(nil, h.ID, agentproto.Hello{Version: 1, MinVersion: 1}); err == nil {
				_, err = guest.Write(frame)
			}
		}
		greeted <- err
	}()
	client, err := agent.Dial(t.Context(), func(context.Context) (net.Conn, error) { return wrap(host), nil })
	if err := errors.Join(err, <-greeted); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, guest
}

// emptyInput makes standard input, which a command is given, empty.
func emptyInput(t *testing.T) {
	t.Helper()
	empty, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = empty
	t.Cleanup(func() { os.Stdin = stdin; empty.Close() })
}

// breaking is a connection that breaks after some writes, as a Unix socket does whose other end is closed.
type breaking struct {
	net.Conn
	writes int
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.writes--; b.writes < 0 {
		return 0, &net.OpError{Op: "write", Net: "unix", Err: os.NewSyscallError("write", unix.EPIPE)}
	}
	return b.Conn.Write(p)
}

// A connection to the guest that breaks is a failure, and not a reader of our output that has gone.
func TestBrokenConnectionIsToldFromBrokenOutput(t *testing.T) {
	emptyInput(t)
	const greetingAndCommand = 2 // the third write is the end of standard input
	client, guest := greet(t, func(c net.Conn) net.Conn { return &breaking{c, greetingAndCommand} })
	go func() { _, _, _ = agentproto.NewReader(guest).Next() }()
	signals := catchSignals()
	defer signals.stop()
	status, err := runInGuest(t.Context(), client, guestCommand{}.with([]string{"x"}), signals)
	if !errors.Is(err, unix.EPIPE) {
		t.Errorf("status %d, %v", status, err)
	}
}

// A guest that does not read, not even the command, holds nobody up.
func TestInterruptWhileTheCommandIsSent(t *testing.T) {
	emptyInput(t)
	for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT} {
		client, _ := greet(t, func(c net.Conn) net.Conn { return c })
		signals := catchSignals()
		defer signals.stop()
		type result struct {
			status int
			err    error
		}
		over := make(chan result, 1)
		go func() {
			status, err := runInGuest(t.Context(), client, guestCommand{}.with([]string{"x"}), signals)
			over <- result{status, err}
		}()
		signals.caught <- unix.SIGUSR1 // ends nothing
		signals.caught <- s
		select {
		case r := <-over:
			if r.status != 128+int(s) || r.err != nil {
				t.Errorf("%v: %+v", s, r)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%v was not heard", s)
		}
	}
}

// A window that changes its size before the command runs has it afterwards.
func TestResizeWhileTheCommandIsSent(t *testing.T) {
	s := &signals{caught: make(chan os.Signal)}
	started := s.endBefore(func() { t.Error("ended") })
	s.caught <- unix.SIGWINCH
	if came := started(); came != nil || !s.resized {
		t.Errorf("%v, or the change is lost", came)
	}
}
