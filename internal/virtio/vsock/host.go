package vsock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// UnixDialer is a Config.DialHost that connects to the Unix socket "<path>_<port>".
func UnixDialer(path string) func(context.Context, uint32) (net.Conn, error) {
	return func(ctx context.Context, port uint32) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", fmt.Sprintf("%s_%d", path, port))
	}
}

// Serve accepts clients on l, each of which names its port with a CONNECT line. It returns nil when l is closed; what
// it accepted goes on until the client, the guest or Close ends it.
func (d *Device) Serve(l net.Listener) error {
	for {
		s, err := l.Accept()
		switch {
		case err == nil:
			if err := d.spawn(func() { d.serveClient(s) }); err != nil {
				_ = s.Close()
			}
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM),
			errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ECONNABORTED):
			// The host is short of something for now: others may give it back, the client waits in the backlog.
			select {
			case <-time.After(100 * time.Millisecond):
			case <-d.ctx.Done():
			}
		default:
			return fmt.Errorf("vsock: accept: %w", err)
		}
	}
}

// Dial connects to a port of the guest, from inside the VMM. It waits for the guest's answer, also when the device is
// not started yet, as long as ctx and Config.ConnectTimeout allow; the error wraps [ErrRefused] when the guest said no.
// The result is one end of a Unix socket pair: it has deadlines and CloseWrite.
func (d *Device) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	conn, err := d.dial(ctx, port)
	if err != nil {
		return nil, fmt.Errorf("vsock: connect to guest port %d: %w", port, err)
	}
	return conn, nil
}

func (d *Device) dial(ctx context.Context, port uint32) (net.Conn, error) {
	ours, theirs, err := streamPair()
	if err != nil {
		return nil, err
	}
	answer := make(chan error, 1)
	err = d.spawn(func() {
		c := d.request(ours, port, false)
		answer <- d.await(ctx, c)
		d.converse(c)
	})
	if err != nil {
		_ = ours.Close()
	} else {
		err = <-answer
	}
	if err != nil {
		_ = theirs.Close()
		return nil, err
	}
	return theirs, nil
}

// spawn runs serve on a goroutine with a slot of its own.
func (d *Device) spawn(serve func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	if !d.enter() {
		return ErrLimit
	}
	go func() {
		defer d.leave()
		serve()
	}()
	return nil
}

// serveClient is one client of Serve, from its CONNECT line to its end.
func (d *Device) serveClient(client net.Conn) {
	s, err := newStream(client)
	if err != nil {
		_ = client.Close()
		return
	}
	port, err := d.readConnect(s)
	if err != nil {
		_ = s.Close()
		return
	}
	c := d.request(s, port, true)
	_ = d.await(d.ctx, c)
	d.converse(c)
}

// maxConnectLine bounds the CONNECT line, in bytes with its end.
const maxConnectLine = 32

// readConnect takes the CONNECT line and not a byte more: what follows it is the guest's.
func (d *Device) readConnect(s *stream) (port uint32, err error) {
	_ = s.SetReadDeadline(time.Now().Add(d.cfg.ConnectTimeout))
	stop := context.AfterFunc(d.ctx, func() { _ = s.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line := make([]byte, 0, maxConnectLine)
	for {
		n, err := s.peek(line[len(line):cap(line)])
		if err != nil {
			return 0, err
		}
		fresh := line[len(line) : len(line)+n]
		end := bytes.IndexByte(fresh, '\n')
		if end >= 0 {
			fresh = fresh[:end+1]
		}
		if _, err := io.ReadFull(s, fresh); err != nil {
			return 0, err
		}
		line = line[:len(line)+len(fresh)]
		if end >= 0 || len(line) == cap(line) {
			break
		}
	}
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	return parseConnect(string(line))
}

// parseConnect parses "CONNECT <port>\n".
func parseConnect(line string) (port uint32, err error) {
	rest, ok := strings.CutPrefix(line, "CONNECT ")
	number, end := strings.CutSuffix(rest, "\n")
	if !ok || !end {
		return 0, fmt.Errorf("expected a line %q, got %q", "CONNECT <port>", line)
	}
	n, err := strconv.ParseUint(number, 10, 32)
	return uint32(n), err
}

// okLine tells the client that the guest accepted, and the host's port of the connection.
func okLine(hostPort uint32) []byte { return fmt.Appendf(nil, "OK %d\n", hostPort) }

// request opens a connection to a port of the guest on behalf of the host.
func (d *Device) request(s *stream, port uint32, greet bool) *conn {
	c := newConn(key{guest: port}, requested)
	c.stream, c.greet = s, greet
	d.mu.Lock()
	defer d.mu.Unlock()
	for used := true; used; _, used = d.conns[c.key] {
		d.port = max(d.port+1, firstHostPort)
		c.host = d.port
	}
	if d.closed {
		c.abort(net.ErrClosed)
		close(c.gone)
		return c
	}
	d.conns[c.key] = c
	d.owe(c, owedRequest)
	return c
}

// await returns when the guest has answered a request, or nobody waits for that any more.
func (d *Device) await(ctx context.Context, c *conn) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout)
	defer cancel()
	select {
	case <-c.ready:
	case <-ctx.Done():
		d.mu.Lock()
		if !c.settled {
			d.reset(c, ctx.Err())
		}
		d.mu.Unlock()
		<-c.ready
	}
	return c.err
}

// dialHost answers the guest's request and then serves the connection. It has a slot.
func (d *Device) dialHost(ctx context.Context, c *conn) {
	defer d.leave()
	s, err := d.dialStream(ctx, c.host)
	d.mu.Lock()
	switch {
	case err != nil:
		d.reset(c, err)
	case c.state == dialing:
		c.stream, c.state = s, established
		c.settle(nil)
		d.owe(c, owedResponse)
	}
	d.mu.Unlock()
	c.cancel()
	if c.stream != nil {
		d.converse(c)
		return
	}
	if s != nil {
		_ = s.Close()
	}
	<-c.gone
}

func (d *Device) dialStream(ctx context.Context, port uint32) (*stream, error) {
	conn, err := d.cfg.DialHost(ctx, port)
	if err != nil {
		return nil, err
	}
	s, err := newStream(conn)
	if err != nil {
		_ = conn.Close()
	}
	return s, err
}

// converse serves a connection that is established or closed, until its host socket can be closed.
func (d *Device) converse(c *conn) {
	d.mu.Lock()
	d.streams[c.stream] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.streams, c.stream)
		d.mu.Unlock()
		c.stream.Close()
	}()
	d.read(c)
	c.stream.discard()
	c.stream.awaitHangup()
	d.mu.Lock()
	if c.state == established {
		c.hostShut = shutBoth
		d.owe(c, owedShutdown)
	}
	d.mu.Unlock()

	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-c.gone:
	case <-timer.C:
		d.mu.Lock()
		d.reset(c, errors.New("guest did not close"))
		d.mu.Unlock()
		<-c.gone
	}
	c.writers.Wait()
}

// read moves the host's data to the guest until there is no more.
func (d *Device) read(c *conn) {
	for {
		var p progress
		err := c.stream.raw.Read(func(fd uintptr) bool {
			for p = moved; p == moved; {
				p = d.pump(c, fd)
			}
			return p != drained
		})
		if err != nil || p == ended {
			return
		}
		<-c.wake
	}
}
