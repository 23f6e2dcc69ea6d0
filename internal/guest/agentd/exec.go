package agentd

import (
	"sync"
	"time"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// exec runs the command of the request to its end and returns the final reply.
func (r *request) exec() agentproto.Message {
	c := r.cmd
	if c.abandoned() {
		return exitSignal(unix.SIGHUP)
	}
	p, err := launch(r.conn.server.System, c.spec)
	if refused, ok := err.(*notRun); ok {
		r.explain(refused)
		return agentproto.Exit{Status: refused.status}
	}
	if err != nil {
		return agentproto.NewError(err)
	}
	defer p.close()
	c.started(p.pid, p.tty)

	var streams sync.WaitGroup
	for s, f := range p.output {
		if f != nil {
			streams.Go(func() { r.pump(agentproto.Stream(s), f) })
		}
	}
	if r.stdin != nil {
		streams.Go(func() { r.feed(p.stdin, p.tty != nil) })
	}

	ws := c.wait(p.pid)
	// The command is gone. Nobody is left to feed; what it wrote is in the
	// pipes, and if others still hold those, they are not waited for.
	if r.stdin != nil {
		r.stdin.Close()
		p.stdin.SetWriteDeadline(time.Unix(1, 0))
	}
	for _, f := range p.output {
		if f != nil {
			f.SetReadDeadline(time.Now().Add(drainGrace))
		}
	}
	streams.Wait()
	if ws.Signaled() {
		return exitSignal(ws.Signal())
	}
	return agentproto.Exit{Status: uint8(ws.ExitStatus())}
}

func exitSignal(sig unix.Signal) agentproto.Exit {
	return agentproto.Exit{Status: 128 + uint8(sig), Signal: uint8(sig)}
}

// explain says on the command's standard error why it was not run.
func (r *request) explain(why *notRun) {
	s := agentproto.Stderr
	text := "clone-agent: " + why.Error() + "\n"
	if r.output[s] == nil { // a terminal
		s = agentproto.Stdout
		text = "clone-agent: " + why.Error() + "\r\n"
	}
	buf := append(make([]byte, agentproto.HeaderSize), text...)
	r.emit(s, buf, len(text))
	for s := range r.output {
		if r.output[s] != nil {
			r.end(agentproto.Stream(s))
		}
	}
}
