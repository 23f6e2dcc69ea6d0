package agentd

import (
	"io"
	"os"
	"syscall"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// copyOut sends a regular file.
func (r *request) copyOut(m agentproto.CopyOut) error {
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	f, err := os.OpenFile(m.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.IsDir() {
		return failed(m.Path, unix.EISDIR)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.Mode().IsRegular() {
		return failed(m.Path+" is not a regular file", unix.EINVAL)
	}
	info := agentproto.FileInfo{
		Mode: sys.Mode & 0o7777, Size: uint64(st.Size()), ModTime: st.ModTime().UnixNano(),
	}
	if err := r.conn.send(r.id, info); err != nil {
		return err
	}
	buf := getBuffer()
	defer putBuffer(buf)
	for {
		n, err := f.Read(buf[agentproto.HeaderSize:])
		if n > 0 && !r.emit(agentproto.Stdout, buf, n) {
			return failed("copy given up", unix.ECANCELED)
		}
		if err == io.EOF {
			r.end(agentproto.Stdout)
			return nil
		}
		if err != nil {
			return err
		}
	}
}
