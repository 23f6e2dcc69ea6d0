package guestmem

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// cloneFrozen makes a child process that does nothing but exist: its address space is a copy-on-write copy of ours. The
// child holds no descriptor but the pipe's reading end, and ends when the writing end is closed or the calling thread
// ends, whichever way.
//
// Between clone and its end the child runs in a copy of a Go program of which only this thread lives: it must not grow the
// stack, allocate, take a lock or be scheduled, so it only makes raw system calls (as syscall.forkAndExecInChild does).
// All signals are blocked around the clone, in the child for ever: a handler would run Go code.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func cloneFrozen(pipe, parent uintptr) (pid uintptr, errno unix.Errno) {
	var (
		all = ^uint64(0)
		old uint64
		b   [1]byte
	)
	_, _, errno = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	pid, _, errno = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
		return pid, errno
	}
	// The child. First what must not be kept from anybody: sockets, locks, KVM.
	if _, _, errno = unix.RawSyscall(unix.SYS_DUP2, pipe, 0, 0); errno != 0 {
		goto end
	}
	if _, _, errno = unix.RawSyscall(unix.SYS_CLOSE_RANGE, 1, uintptr(^uint32(0)), 0); errno != 0 {
		goto end
	}
	if _, _, errno = unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0); errno != 0 {
		goto end
	}
	// Whoever died before that sent no signal.
	if now, _, _ := unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); now != parent {
		goto end
	}
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, 0, uintptr(unsafe.Pointer(&b)), 1)
		if errno != unix.EINTR && (errno != 0 || n == 0) {
			goto end
		}
	}
end:
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}
