package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"clone/internal/agent"
	"clone/internal/agentproto"
)

// vsockConn is a connection of AF_VSOCK, which package net does not know.
type vsockConn struct{ *os.File }

func (vsockConn) LocalAddr() net.Addr  { return vsockAddr{} }
func (vsockConn) RemoteAddr() net.Addr { return vsockAddr{} }

type vsockAddr struct{}

func (vsockAddr) Network() string { return "vsock" }
func (vsockAddr) String() string  { return "vsock" }

// vsockConnectTimeout bounds one connect, which a guest that is not there yet leaves unanswered.
const vsockConnectTimeout = 100 * time.Millisecond

// dialVsock returns a dialer to the agent's port of the guest with a context id, through the host's vhost-vsock.
func dialVsock(cid uint32) agent.Dialer {
	return func(ctx context.Context) (net.Conn, error) {
		fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
		// The timeout is a struct timeval; connect is short enough not to need ctx.
		limit := unix.NsecToTimeval(int64(vsockConnectTimeout))
		if err := unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit); err != nil {
			return nil, errors.Join(fmt.Errorf("connect timeout: %w", err), unix.Close(fd))
		}
		if err := unix.Connect(fd, &unix.SockaddrVM{CID: cid, Port: agentproto.Port}); err != nil {
			return nil, errors.Join(fmt.Errorf("connect to CID %d: %w", cid, err), unix.Close(fd))
		}
		// Non-blocking, it has deadlines.
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, errors.Join(err, unix.Close(fd))
		}
		return vsockConn{os.NewFile(uintptr(fd), "vsock")}, nil
	}
}

// guestCommand runs a command in the guest with a context id, as soon as its agent answers.
func guestCommand(ctx context.Context, cid uint32, args ...string) error {
	client, err := agent.DialWait(ctx, dialVsock(cid))
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := client.Exec(ctx, agent.Command{Args: args})
	if err != nil {
		return err
	}
	status, err := p.Wait()
	if err == nil && status != 0 {
		err = fmt.Errorf("%q ended with status %d in the guest", args, status)
	}
	return err
}
