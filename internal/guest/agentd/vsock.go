package agentd

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// vsockListener accepts connections on an AF_VSOCK port (vsock(7)). The socket
// is non-blocking and waits in the runtime's poller: no thread of its own.
type vsockListener struct {
	file *os.File
	raw  syscall.RawConn
	peer uint32 // the only CID that is served
}

// ListenVsock listens on a vsock port of every CID this machine has and will
// have: a fork gets another CID and keeps the socket.
func ListenVsock(port uint32) (Listener, error) {
	return listenVsock(port, unix.VMADDR_CID_HOST)
}

func listenVsock(port, peer uint32) (*vsockListener, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, failed("vsock socket (is the vsock module loaded?)", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port}); err != nil {
		unix.Close(fd)
		return nil, failed("bind vsock port", err)
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		unix.Close(fd)
		return nil, failed("listen on vsock", err)
	}
	file := os.NewFile(uintptr(fd), "vsock")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, failed("poll vsock socket", err)
	}
	return &vsockListener{file: file, raw: raw, peer: peer}, nil
}

// Accept waits for a connection of the host. Connections of anybody else are
// closed unheard.
func (l *vsockListener) Accept() (io.ReadWriteCloser, error) {
	for {
		var fd int
		var from unix.Sockaddr
		var failure error
		err := l.raw.Read(func(s uintptr) bool {
			fd, from, failure = unix.Accept4(int(s), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return failure != unix.EAGAIN
		})
		switch {
		case err != nil:
			return nil, err
		case failure != nil:
			return nil, failure
		}
		if vm, ok := from.(*unix.SockaddrVM); ok && vm.CID == l.peer {
			return os.NewFile(uintptr(fd), "vsock connection"), nil
		}
		unix.Close(fd)
	}
}

// Close ends Accept.
func (l *vsockListener) Close() error { return l.file.Close() }
