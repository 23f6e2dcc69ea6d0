package agentd

import (
	"bytes"
	"errors"
	"net"
	"syscall"
	"testing"

	"clone/internal/agentproto"
)

// TestNonsense: a peer that breaks the protocol loses its connection, and only
// that.
func TestNonsense(t *testing.T) {
	dial := serve(t, &recorder{root: t.TempDir()})
	good := dial().greet()
	frame := func(m agentproto.Message) []byte {
		b, err := agentproto.AppendFrame(nil, 5, m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	raw := func(typ agentproto.Type, flags agentproto.Flags, payload ...byte) []byte {
		b := make([]byte, agentproto.HeaderSize, agentproto.HeaderSize+len(payload))
		agentproto.Header{Length: uint32(len(payload)), Type: typ, Flags: flags, ID: 5}.Put(b)
		return append(b, payload...)
	}
	cat := frame(agentproto.Exec{Args: []string{"sleep", "1000"}, Stdin: true})
	window := bytes.Repeat(raw(agentproto.TypeData, 0, make([]byte, agentproto.MaxData)...), 5)
	tests := []struct {
		name  string
		greet bool
		send  []byte
	}{
		{"no hello", false, frame(agentproto.Stats{})},
		{"text", false, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"unknown version", false, frame(agentproto.Hello{Version: 9, MinVersion: 9})},
		{"text later", true, []byte("GET / HTTP/1.1\r\n\r\n")},
		{"endless frame", true, []byte{0xff, 0xff, 0xff, 0x7f, 2, 0, 0, 0, 5, 0, 0, 0}},
		{"id 0", true, make([]byte, agentproto.HeaderSize)},
		{"a reply", true, frame(agentproto.OK{})},
		{"malformed exec", true, raw(agentproto.TypeExec, 0, 1, 2, 3)},
		{"list longer than its frame", true, raw(agentproto.TypeExec, 0, 0xff, 0xff, 0xff, 0xff)},
		{"forbidden driver", true, frame(agentproto.Bind{Driver: "vfio-pci", Device: "x"})},
		{"id in use", true, append(bytes.Clone(cat), cat...)},
		{"data on stdout", true, append(bytes.Clone(cat), raw(agentproto.TypeData, 1, 1)...)},
		{"credit for stdin", true, append(bytes.Clone(cat), frame(agentproto.Credit{Stream: 0, Bytes: 1})...)},
		{"credit beyond the window", true, append(bytes.Clone(cat), frame(agentproto.Credit{Stream: 1, Bytes: 1})...)},
		{"data beyond the window", true, append(append(bytes.Clone(cat), window...), window...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := dial()
			if tt.greet {
				p.greet()
			}
			wrote := make(chan error, 1)
			go func() { wrote <- p.write(tt.send) }()
			for {
				if _, _, err := p.frames.Next(); err != nil {
					var late net.Error
					if errors.As(err, &late) && late.Timeout() {
						t.Error("the connection goes on")
					}
					break
				}
			}
			p.conn.Close()
			<-wrote
			good.send(2, agentproto.Stats{})
			if h, m := good.receive(); h.ID != 2 || m.Type() != agentproto.TypeStatsReply {
				t.Errorf("the other connection: %+v, %+v", h, m)
			}
		})
	}
}

// TestLateFrames: what is sent for a request that has ended is dropped.
func TestLateFrames(t *testing.T) {
	p := serve(t, &recorder{root: t.TempDir()})().greet()
	p.send(7, agentproto.Signal{Number: 9})
	p.send(7, agentproto.Resize{Rows: 1, Cols: 1})
	p.send(7, agentproto.Credit{Stream: 1, Bytes: 9})
	p.send(7, agentproto.Cancel{})
	b := append(make([]byte, agentproto.HeaderSize), "late"...)
	agentproto.PutData(b, 7, agentproto.Stdin, true)
	if err := p.write(b); err != nil {
		t.Fatal(err)
	}
	p.send(8, agentproto.ClockGet{})
	if h, m := p.receive(); h.ID != 8 || m.Type() != agentproto.TypeClock {
		t.Errorf("%+v, %+v", h, m)
	}
}

func TestUnknownRequest(t *testing.T) {
	p := serve(t, &recorder{root: t.TempDir()})().greet()
	b := append(make([]byte, agentproto.HeaderSize), "from the future"...)
	agentproto.Header{Length: uint32(len(b) - agentproto.HeaderSize), Type: 0x3f, ID: 4}.Put(b)
	if err := p.write(b); err != nil {
		t.Fatal(err)
	}
	if _, m := p.receive(); !errors.Is(m.(agentproto.Error), syscall.ENOSYS) {
		t.Errorf("%+v", m)
	}
}

// TestBusy: requests that wait do not delay the clock, and there is a limit to
// how many may wait.
func TestBusy(t *testing.T) {
	sys := &recorder{root: t.TempDir(), block: make(chan struct{})}
	p := serve(t, sys)().greet()
	for id := range uint32(maxRequests) {
		p.send(10+id, agentproto.Sync{})
	}
	p.send(2, agentproto.ClockGet{})
	if h, m := p.receive(); h.ID != 2 || m.Type() != agentproto.TypeClock {
		t.Fatalf("%+v, %+v", h, m)
	}
	p.send(3, agentproto.Sync{})
	if h, m := p.receive(); h.ID != 3 || !errors.Is(m.(agentproto.Error), syscall.EAGAIN) {
		t.Fatalf("%+v, %+v", h, m)
	}
	close(sys.block)
	for range maxRequests {
		if _, m := p.receive(); m.Type() != agentproto.TypeOK {
			t.Fatalf("%+v", m)
		}
	}
	p.send(4, agentproto.Sync{})
	if h, m := p.receive(); h.ID != 4 || m.Type() != agentproto.TypeOK {
		t.Fatalf("%+v, %+v", h, m)
	}
}
