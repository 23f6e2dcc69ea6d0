package control

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// pipeMachine's console is one end of a pipe; the other is the guest's.
func pipeMachine() (*fakeMachine, net.Conn) {
	ours, guest := net.Pipe()
	return &fakeMachine{console: func() (io.ReadWriteCloser, error) { return ours, nil }}, guest
}

func TestConsoleBytes(t *testing.T) {
	m, guest := pipeMachine()
	s := start(t, m, peerUID)
	c, err := s.Console(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := make([]byte, 3*256)
	for i := range all {
		all[i] = byte(i)
	}
	go guest.Write(all)
	got := make([]byte, len(all))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, all) {
		t.Fatalf("printed bytes differ: %v", err)
	}
	go c.Write(all)
	clear(got)
	if _, err := io.ReadFull(guest, got); err != nil || !bytes.Equal(got, all) {
		t.Fatalf("typed bytes differ: %v", err)
	}
	guest.Close() // the machine ends
	if n, err := c.Read(got); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v; want EOF", n, err)
	}
}

func TestConsoleDetach(t *testing.T) {
	m, guest := pipeMachine()
	s := start(t, m, peerUID)
	c, err := s.Console(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	guest.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := guest.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the stream was not closed: %v", err)
	}
}

func TestConsoleRefused(t *testing.T) {
	m := &fakeMachine{console: func() (io.ReadWriteCloser, error) { return nil, errors.New("no serial port") }}
	if _, err := start(t, m, peerUID).Console(t.Context()); err == nil || err.Error() != "no serial port" {
		t.Errorf("Console: %v", err)
	}
}

// A client that neither reads nor goes does not keep Serve from ending.
func TestServeEndsWithConsoleAttached(t *testing.T) {
	m, guest := pipeMachine()
	s := start(t, m, peerUID)
	c, err := s.Console(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for {
			if _, err := guest.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}()
	s.stop(t)
	<-flooded
}

// What the guest printed last is delivered although the server is already ending.
func TestConsoleLastWords(t *testing.T) {
	m, guest := pipeMachine()
	s := start(t, m, peerUID)
	c, err := s.Console(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.l.Close()
	go func() { guest.Write([]byte("Power down")); guest.Close() }()
	if got, err := io.ReadAll(c); err != nil || string(got) != "Power down" {
		t.Errorf("%q, %v", got, err)
	}
}

// A VM that is killed while something typed is unread ends the stream as one that ends in peace.
func TestConsoleOfKilledVM(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kill := make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		io.WriteString(c, switching+"last words")
		<-kill
	}()
	c, err := NewClient(l.Addr().String()).Console(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("typed")); err != nil {
		t.Fatal(err)
	}
	close(kill)
	if got, err := io.ReadAll(c); err != nil || string(got) != "last words" {
		t.Errorf("%q, %v", got, err)
	}
}
