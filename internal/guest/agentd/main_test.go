package agentd

import (
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"clone/internal/agentproto"
)

func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) != "" {
		os.Exit(insideNamespaces())
	}
	os.Exit(m.Run())
}

// recorder is a System whose effects are only noted. Its files are below root.
type recorder struct {
	root string

	mu     sync.Mutex
	log    []string
	offset int64
	raw    int64
	seed   []byte
	name   string
	cids   []uint32 // what LocalCID returns, in turn; the last one stays
	mount  func(source, target string) error
	fail   map[string]error
	block  chan struct{} // Sync waits for it
	clock  Registers
}

func (r *recorder) note(what string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, what)
	return r.fail[what]
}

func (r *recorder) Realtime() int64 { return time.Now().UnixNano() + r.offset }

func (r *recorder) Raw() int64 { return r.raw }

func (r *recorder) MapRegisters(uint64) (Registers, error) {
	if r.clock == nil {
		return nil, fs.ErrNotExist
	}
	return r.clock, nil
}

func (r *recorder) StepRealtime(ns int64) error {
	r.offset += ns
	return r.note("clock")
}

func (r *recorder) AddEntropy(seed []byte) error {
	r.seed = seed
	return r.note("entropy")
}

func (r *recorder) SetHostname(name string) error {
	r.name = name
	return r.note("hostname")
}

func (r *recorder) LocalCID() (uint32, error) {
	if len(r.cids) == 0 {
		return 0, fs.ErrNotExist
	}
	cid := r.cids[0]
	if len(r.cids) > 1 {
		r.cids = r.cids[1:]
	}
	return cid, r.note("cid")
}

func (r *recorder) Path(name string) string { return filepath.Join(r.root, name) }

func (r *recorder) BindMount(source, target string) error {
	if r.mount == nil {
		return fs.ErrPermission
	}
	return r.mount(source, target)
}

func (r *recorder) Sync() error {
	if r.block != nil {
		<-r.block
	}
	return r.note("sync")
}

func (r *recorder) Shutdown(agentproto.ShutdownMode, bool) error { return r.note("shutdown") }
func (r *recorder) Bind(string, string) error                    { return r.note("bind") }
func (r *recorder) Stats() (agentproto.StatsReply, error)        { return Linux{}.Stats() }

// pipeListener hands one end of socket pairs to the server.
type pipeListener struct {
	conns chan io.ReadWriteCloser
	once  sync.Once
	done  chan struct{}
}

func (l *pipeListener) Accept() (io.ReadWriteCloser, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// serve runs a server on sys; dial makes connections to it.
func serve(t *testing.T, sys System) (dial func() *peer) {
	t.Helper()
	l := &pipeListener{conns: make(chan io.ReadWriteCloser), done: make(chan struct{})}
	s := &Server{System: sys}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(l)
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
	})
	return func() *peer {
		host, guest := net.Pipe()
		host.SetDeadline(time.Now().Add(10 * time.Second))
		t.Cleanup(func() { host.Close() })
		l.conns <- guest
		return &peer{t: t, conn: host, frames: agentproto.NewReader(host)}
	}
}

// peer is the host's end of a connection, frame by frame.
type peer struct {
	t      *testing.T
	conn   net.Conn
	frames *agentproto.Reader
}

func (p *peer) write(b []byte) error {
	_, err := p.conn.Write(b)
	return err
}

func (p *peer) send(id uint32, m agentproto.Message) {
	p.t.Helper()
	b, err := agentproto.AppendFrame(nil, id, m)
	if err == nil {
		err = p.write(b)
	}
	if err != nil {
		p.t.Fatalf("send %T: %v", m, err)
	}
}

func (p *peer) receive() (agentproto.Header, agentproto.Message) {
	p.t.Helper()
	h, payload, err := p.frames.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	if h.Type == agentproto.TypeData {
		return h, nil
	}
	m, err := agentproto.DecodeReply(h.Type, payload)
	if err != nil {
		p.t.Fatal(err)
	}
	return h, m
}

func (p *peer) greet() *peer {
	p.t.Helper()
	p.send(1, agentproto.Hello{Version: 1, MinVersion: 1})
	if _, m := p.receive(); m.Type() != agentproto.TypeHello {
		p.t.Fatalf("%+v", m)
	}
	return p
}
