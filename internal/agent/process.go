package agent

import (
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"sync"
	"syscall"
	"time"

	"clone/internal/agentproto"
)

// Command is a command to run in the guest.
type Command struct {
	Args []string // the program, looked up in the guest's PATH, and its arguments
	Env  []string // KEY=value, over the guest's defaults
	Dir  string   // absolute; empty: the user's home, else /
	User string   // name, uid, name:group or uid:gid; empty: root

	// TTY gives the command a terminal of Rows by Cols. All output is then
	// Stdout's.
	TTY        bool
	Rows, Cols uint16

	// Stdin is read up to its end; nil is an empty input. What was read and not
	// taken by the command is lost, as in a pipe. If Stdin has a SetReadDeadline
	// method that works, it is used to stop a Read that blocks when the command
	// is over, and reset. Otherwise such a Read, and its goroutine, go on until
	// it returns.
	Stdin io.Reader

	// Stdout and Stderr take the output as it comes; nil drops it. A Write that
	// blocks stops this command only. When one fails the command is hung up.
	// They may be the same writer: then one Write runs at a time.
	Stdout, Stderr io.Writer
}

// Process is a command that was started in the guest.
type Process struct {
	t      *transfer
	done   chan struct{}
	status int
	err    error

	mu     sync.Mutex
	broken error // of the caller's writers
}

// Exec starts a command; the context is for all its life: when it ends, the
// command is hung up (SIGHUP, a second later SIGKILL) and Wait returns. A command
// that cannot be run is not an error here: its exit status is 127 or 126 and its
// Stderr says why, as in a shell.
func (c *Client) Exec(ctx context.Context, cmd Command) (*Process, error) {
	m := agentproto.Exec{
		Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, User: cmd.User,
		Stdin: cmd.Stdin != nil, TTY: cmd.TTY, Rows: cmd.Rows, Cols: cmd.Cols,
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	t := newTransfer()
	t.queues[agentproto.Stdout] = agentproto.NewReceiveQueue()
	if !cmd.TTY {
		t.queues[agentproto.Stderr] = agentproto.NewReceiveQueue()
	}
	if cmd.Stdin != nil {
		t.send = agentproto.NewSendWindow()
	}
	if err := c.begin(ctx, t, m); err != nil {
		return nil, err
	}
	p := &Process{t: t, done: make(chan struct{}), status: -1}
	c.wg.Go(func() { p.run(cmd) })
	return p, nil
}

// run moves the command's streams until it is over.
func (p *Process) run(cmd Command) {
	defer close(p.done)
	stdout, stderr := cmd.Stdout, cmd.Stderr
	if same(stdout, stderr) {
		w := &lockedWriter{w: stdout}
		stdout, stderr = w, w
	}
	var output, input sync.WaitGroup
	take := func(s agentproto.Stream, w io.Writer) {
		if err := p.t.drain(s, w); err != nil {
			p.breakOff(err)
		}
	}
	output.Go(func() { take(agentproto.Stdout, stdout) })
	if !cmd.TTY {
		output.Go(func() { take(agentproto.Stderr, stderr) })
	}
	if cmd.Stdin != nil {
		input.Go(func() { p.feed(cmd.Stdin) })
	}
	output.Wait()
	exit, err := result[agentproto.Exit](p.t)
	p.t.leave()
	joinReader(cmd.Stdin, &input)

	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.broken != nil:
		p.err = p.broken
	case err != nil:
		p.err = err
	default:
		p.status = int(exit.Status)
	}
}

// feed sends r to the command's standard input.
func (p *Process) feed(r io.Reader) {
	buf := make([]byte, agentproto.HeaderSize+32<<10)
	for p.t.ctx.Err() == nil {
		n, err := r.Read(buf[agentproto.HeaderSize:])
		if n > 0 && !p.t.emit(buf, n) {
			return
		}
		if err == io.EOF {
			p.t.end(buf)
			return
		}
		if err != nil {
			if !p.t.isOver() {
				p.breakOff(fmt.Errorf("standard input: %w", err))
			}
			return
		}
	}
}

// breakOff gives the command up because of the caller's own streams.
func (p *Process) breakOff(err error) {
	p.mu.Lock()
	if p.broken == nil && p.t.ctx.Err() == nil {
		p.broken = err
	}
	p.mu.Unlock()
	p.t.stop()
}

// joinReader waits for the goroutine that reads r, if it can be stopped.
func joinReader(r io.Reader, reading *sync.WaitGroup) {
	d, ok := r.(interface{ SetReadDeadline(time.Time) error })
	if !ok || d.SetReadDeadline(time.Unix(1, 0)) != nil {
		return
	}
	reading.Wait()
	_ = d.SetReadDeadline(time.Time{}) // worked a moment ago; a closed reader needs none
}

// Wait returns the exit status of the command as a shell has it - 0 to 255, 128+n
// after signal n - when it is over and all its output was written. The status is
// -1 with an error: the context's, the connection's, that of a writer that
// failed, or the agent's refusal. It may be called any number of times.
func (p *Process) Wait() (exitStatus int, err error) {
	<-p.done
	return p.status, p.err
}

// Signal sends a signal to the command's process group.
func (p *Process) Signal(sig syscall.Signal) error {
	if sig < 1 || sig > 64 {
		return fmt.Errorf("no such signal: %d", sig)
	}
	return p.control(agentproto.Signal{Number: uint8(sig)})
}

// Resize changes the size of the command's terminal, in characters.
func (p *Process) Resize(rows, cols uint16) error {
	return p.control(agentproto.Resize{Rows: rows, Cols: cols})
}

// control fails with os.ErrProcessDone when the command is over.
func (p *Process) control(m agentproto.Message) error {
	if p.t.ctx.Err() != nil || p.t.isOver() {
		return os.ErrProcessDone
	}
	return p.t.client.send(p.t.ctx, p.t.id, m)
}

// lockedWriter lets two streams share a writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func same(a, b io.Writer) bool {
	return a != nil && b != nil && reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}
