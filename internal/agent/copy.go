package agent

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"clone/internal/agentproto"
)

// File describes a file of the guest.
type File struct {
	Mode    fs.FileMode // permission bits
	Size    uint64      // bytes when it was opened; not a promise
	ModTime time.Time
}

// CopyIn writes a file of the guest from r, up to its end. The file at path, an
// absolute path, is replaced when all of it has arrived and is on the guest's
// disk, or not at all. It belongs to root. A Read that blocks outlasts ctx.
// size is the number of bytes in r, checked at the end, or -1 if unknown.
func (c *Client) CopyIn(ctx context.Context, path string, mode fs.FileMode, size int64, r io.Reader) error {
	m := agentproto.CopyIn{
		Path: path, Mode: unixMode(mode), Size: agentproto.SizeUnknown,
		UID: agentproto.KeepOwner, GID: agentproto.KeepOwner,
	}
	if size >= 0 {
		m.Size = uint64(size)
	}
	if err := absolute(path); err != nil {
		return err
	}
	t := newTransfer()
	t.send = agentproto.NewSendWindow()
	if err := c.begin(ctx, t, m); err != nil {
		return err
	}
	defer t.leave()
	buf := make([]byte, agentproto.HeaderSize+agentproto.MaxData)
	for t.ctx.Err() == nil {
		n, err := r.Read(buf[agentproto.HeaderSize:])
		if n > 0 && !t.emit(buf, n) {
			break // the agent gave up, or ctx did: result says why
		}
		if err == io.EOF {
			t.end(buf)
			break
		}
		if err != nil {
			return err
		}
	}
	_, err := result[agentproto.OK](t)
	return err
}

// CopyOut reads a regular file of the guest into w.
func (c *Client) CopyOut(ctx context.Context, path string, w io.Writer) (File, error) {
	if err := absolute(path); err != nil {
		return File{}, err
	}
	t := newTransfer()
	t.queues[agentproto.Stdout] = agentproto.NewReceiveQueue()
	if err := c.begin(ctx, t, agentproto.CopyOut{Path: path}); err != nil {
		return File{}, err
	}
	defer t.leave()
	if err := t.drain(agentproto.Stdout, w); err != nil {
		return File{}, err
	}
	if _, err := result[agentproto.OK](t); err != nil {
		return File{}, err
	}
	info := t.info
	return File{
		Mode: fileMode(info.Mode), Size: info.Size, ModTime: time.Unix(0, info.ModTime),
	}, nil
}

func absolute(path string) error {
	if len(path) == 0 || path[0] != '/' || len(path) > 4096 {
		return fmt.Errorf("not an absolute path in the guest: %q", path)
	}
	return nil
}

// unixMode is the permission bits of mode as chmod(2) has them.
func unixMode(mode fs.FileMode) uint32 {
	m := uint32(mode.Perm())
	for _, b := range specialBits {
		if mode&b.mode != 0 {
			m |= b.unix
		}
	}
	return m
}

func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m) & fs.ModePerm
	for _, b := range specialBits {
		if m&b.unix != 0 {
			mode |= b.mode
		}
	}
	return mode
}

var specialBits = []struct {
	mode fs.FileMode
	unix uint32
}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}}
