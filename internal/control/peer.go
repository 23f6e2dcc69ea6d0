package control

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerUID asks the kernel who connected (unix(7) SO_PEERCRED).
func peerUID(c net.Conn) (uint32, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("a %s connection has no peer credentials", c.RemoteAddr().Network())
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, os.NewSyscallError("getsockopt SO_PEERCRED", credErr)
	}
	return cred.Uid, nil
}

// checkPeer returns why the peer may not use this VM, nil where it may.
func checkPeer(c net.Conn, uidOf func(net.Conn) (uint32, error)) error {
	uid, err := uidOf(c)
	if err != nil {
		return fmt.Errorf("who is calling is unknown: %w", err)
	}
	if uid != 0 && uid != uint32(os.Geteuid()) {
		return fmt.Errorf("user %d may not control a VM of user %d", uid, os.Geteuid())
	}
	return nil
}

// peerKey is the connection's context key for the result of checkPeer: the refusal is an HTTP answer, so the caller
// learns the reason.
type peerKey struct{}

func withPeer(ctx context.Context, err error) context.Context {
	return context.WithValue(ctx, peerKey{}, err)
}

func peerError(ctx context.Context) error {
	err, _ := ctx.Value(peerKey{}).(error)
	return err
}
