package guestmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Frozen is guest memory as it was at one instant, however the guest goes on: a child process whose address space is a
// copy-on-write copy of this one's. It costs a page for each page that the guest changes while it is held.
type Frozen struct {
	regions []Region // Host is the original's, for its address; it is not read
	size    uint64
	pid     int
	pagemap *os.File
	mem     *os.File
	release chan struct{} // closed to let the child go
	gone    chan struct{} // closed when it is reaped
	once    sync.Once
	status  unix.WaitStatus // valid once gone is closed
}

// ErrFrozenLost is wrapped by every error about a frozen copy that somebody else ended.
var ErrFrozenLost = errors.New("the frozen copy of the guest's memory was ended from outside")

// Freeze takes a frozen copy. Nobody may write guest memory while it is taken, which takes as long as copying the page
// tables: the guest is paused. The copy is read at leisure and must be closed, before the memory is.
func (m *Memory) Freeze() (*Frozen, error) {
	f := &Frozen{regions: m.regions, size: m.size, release: make(chan struct{}), gone: make(chan struct{})}
	started := make(chan error, 1)
	go f.hold(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("freeze guest memory: %w", err)
	}
	return f, nil
}

// hold makes the child and waits for its end. The thread that made it stays: its end would be the child's.
func (f *Frozen) hold(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(f.gone)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		started <- err
		return
	}
	pid, errno := cloneFrozen(uintptr(pipe[0]), uintptr(unix.Getpid()))
	unix.Close(pipe[0])
	if errno != 0 {
		unix.Close(pipe[1])
		started <- errno
		return
	}
	f.pid = int(pid)
	proc := "/proc/" + strconv.Itoa(f.pid)
	var err error
	if f.pagemap, err = os.Open(proc + "/pagemap"); err == nil {
		f.mem, err = os.Open(proc + "/mem")
	}
	if err == nil {
		// When memory runs out it is the snapshot that dies, not the VM.
		err = os.WriteFile(proc+"/oom_score_adj", []byte("1000"), 0)
	}
	started <- err
	if err == nil {
		<-f.release
	}
	unix.Kill(f.pid, unix.SIGKILL) // not reaped yet, so the number is still its own
	unix.Close(pipe[1])
	for {
		if _, err := unix.Wait4(f.pid, &f.status, 0, nil); err != unix.EINTR {
			break
		}
	}
	f.pagemap.Close()
	f.mem.Close()
}

// Close lets the copy go. Closing it again does nothing.
func (f *Frozen) Close() {
	f.once.Do(func() { close(f.release) })
	<-f.gone
}

// Size is the number of bytes.
func (f *Frozen) Size() uint64 { return f.size }

// Own tells of each page from first on whether it is the machine's own: one that is not is what lies below in the image,
// or zero where there is none. Page numbers are those of the image; the range must not cross from one region into another.
func (f *Frozen) Own(own []bool, first uint64) error {
	n := uint64(len(own))
	addr, err := f.address(first*PageSize, n*PageSize)
	if err != nil {
		return err
	}
	entries := make([]byte, 8*n)
	if _, err := f.pagemap.ReadAt(entries, int64(addr/PageSize*8)); err != nil {
		return f.lost(fmt.Errorf("read pagemap: %w", err))
	}
	for i := range own {
		e := binary.NativeEndian.Uint64(entries[8*i:])
		own[i] = e&(pagemapPresent|pagemapSwapped) != 0 && e&pagemapFile == 0
	}
	return nil
}

// ReadOwn reads the pages that own marks, from page first on, each to its place in p, which it leaves alone elsewhere. The
// range must not cross from one region into another.
//
// It reads /proc/PID/mem. process_vm_readv(2) pins pages, and since Linux 5.19 a page that is pinned is no longer shared: it
// had the child copy all that it was to read, and a snapshot took the VM's memory twice.
func (f *Frozen) ReadOwn(p []byte, own []bool, first uint64) error {
	addr, err := f.address(first*PageSize, uint64(len(own))*PageSize)
	if err != nil {
		return err
	}
	for at := 0; at < len(own); {
		if !own[at] {
			at++
			continue
		}
		end := at + 1
		for end < len(own) && own[end] {
			end++
		}
		if _, err := f.mem.ReadAt(p[at*PageSize:end*PageSize], int64(addr)+int64(at*PageSize)); err != nil {
			return f.lost(fmt.Errorf("read frozen memory: %w", err))
		}
		at = end
	}
	return nil
}

// address is where the child has [offset, offset+n) of the image.
func (f *Frozen) address(offset, n uint64) (uint64, error) {
	for _, r := range f.regions {
		if size := uint64(len(r.Host)); offset >= r.Offset && offset-r.Offset <= size && n <= size-(offset-r.Offset) {
			return address(r.Host) + offset - r.Offset, nil
		}
	}
	return 0, fmt.Errorf("%w: image offset %#x+%#x", ErrOutside, offset, n)
}

// lost says that the child is no more, if that is why err happened.
func (f *Frozen) lost(err error) error {
	var info unix.Siginfo
	// It is left to be reaped by its holder.
	if e := unix.Waitid(unix.P_PID, f.pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); e == nil && info.Signo == int32(unix.SIGCHLD) {
		return fmt.Errorf("%w, perhaps because the host's memory ran out; the VM goes on: %w", ErrFrozenLost, err)
	}
	return err
}
