package agentd

import (
	"os"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal, pty(7): the agent's side, non-blocking,
// and the command's, which belongs to the user uid.
func openTerminal(rows, cols uint16, uid uint32) (master *os.File, peer uintptr, err error) {
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, failed("no terminal: /dev/ptmx (is devpts mounted on /dev/pts?)", err)
	}
	p, err := openPeer(m, rows, cols, uid)
	if err != nil {
		unix.Close(m)
		return nil, 0, failed("set up terminal", err)
	}
	return os.NewFile(uintptr(m), "/dev/ptmx"), uintptr(p), nil
}

func openPeer(m int, rows, cols uint16, uid uint32) (int, error) {
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		return -1, err
	}
	if rows > 0 && cols > 0 {
		if err := unix.IoctlSetWinsize(m, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
			return -1, err
		}
	}
	// TIOCGPTPEER opens the other side whatever is mounted on /dev/pts.
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	if uid != 0 {
		if err := unix.Fchown(int(fd), int(uid), -1); err != nil {
			unix.Close(int(fd))
			return -1, err
		}
	}
	return int(fd), nil
}
