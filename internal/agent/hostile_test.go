package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"clone/internal/agent"
	"clone/internal/agentproto"
)

// fake is the guest's end of a connection, in the hands of a test: it greets,
// then hands every frame to the script.
func fake(t *testing.T, script func(conn net.Conn, h agentproto.Header) bool) *agent.Client {
	t.Helper()
	c, err := agent.Dial(t.Context(), fakeDialer(t, agentproto.Hello{Version: 1, MinVersion: 1}, script))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func fakeDialer(t *testing.T, hello agentproto.Hello, script func(conn net.Conn, h agentproto.Header) bool) agent.Dialer {
	return func(context.Context) (net.Conn, error) {
		host, guest := net.Pipe()
		served := make(chan struct{})
		t.Cleanup(func() { guest.Close(); <-served })
		go func() {
			defer close(served)
			defer guest.Close()
			r := agentproto.NewReader(guest)
			for {
				h, _, err := r.Next()
				if err != nil {
					return
				}
				if h.Type == agentproto.TypeHello {
					frame, _ := agentproto.AppendFrame(nil, h.ID, hello)
					guest.Write(frame)
				} else if !script(guest, h) {
					return
				}
			}
		}()
		return host, nil
	}
}

func TestHostileAgent(t *testing.T) {
	frame := func(id uint32, m agentproto.Message) []byte {
		b, err := agentproto.AppendFrame(nil, id, m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	data := func(id uint32, s agentproto.Stream, n int, end bool) []byte {
		b := make([]byte, agentproto.HeaderSize+n)
		agentproto.PutData(b, id, s, end)
		return b
	}
	tests := []struct {
		name  string
		reply func(id uint32) []byte
	}{
		{"text", func(uint32) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }},
		{"endless frame", func(id uint32) []byte { return []byte{255, 255, 255, 255, 0x80, 0, 0, 0, byte(id), 0, 0, 0} }},
		{"request id 0", func(uint32) []byte { return make([]byte, agentproto.HeaderSize) }},
		{"a request that was never made", func(id uint32) []byte { return frame(id+100, agentproto.OK{}) }},
		{"a request instead of a reply", func(id uint32) []byte { return frame(id, agentproto.Sync{}) }},
		{"reply of the wrong kind", func(id uint32) []byte { return frame(id, agentproto.Clock{}) }},
		{"unknown stream", func(id uint32) []byte {
			b := data(id, agentproto.Stdout, 1, false)
			b[5] = 3
			return b
		}},
		{"data on stdin", func(id uint32) []byte { return data(id, agentproto.Stdin, 1, false) }},
		{"more than the window", func(id uint32) []byte {
			return bytes.Repeat(data(id, agentproto.Stdout, agentproto.MaxData, false), 5)
		}},
		{"data after the end", func(id uint32) []byte {
			return append(data(id, agentproto.Stdout, 1, true), data(id, agentproto.Stdout, 1, false)...)
		}},
		{"credit without a stream", func(id uint32) []byte { return frame(id, agentproto.Credit{Stream: agentproto.Stdin, Bytes: 1}) }},
		{"two replies", func(id uint32) []byte { return append(frame(id, agentproto.OK{}), frame(id, agentproto.OK{})...) }},
		{"end of the connection", func(uint32) []byte { return nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := fake(t, func(conn net.Conn, h agentproto.Header) bool {
				conn.Write(tt.reply(h.ID))
				return false
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			// Nobody takes the output, so the window counts.
			p, err := c.Exec(ctx, agent.Command{Args: []string{"x"}, Stdout: stuck{ctx}})
			if err != nil {
				t.Fatal(err)
			}
			<-c.Done()
			cancel()
			if status, err := p.Wait(); err == nil || status != -1 {
				t.Errorf("status %d, %v", status, err)
			}
			if c.Err() == nil {
				t.Error("the connection has no error")
			}
			if _, err := c.Hello(t.Context()); err == nil {
				t.Error("the connection goes on")
			}
		})
	}
}

func TestErrorTextIsHarmless(t *testing.T) {
	c := fake(t, func(conn net.Conn, h agentproto.Header) bool {
		b, _ := agentproto.AppendFrame(nil, h.ID, agentproto.Error{Message: "\x1b]0;owned\x07\u009b2J\xff"})
		conn.Write(b)
		return true
	})
	err := c.Sync(t.Context())
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\x07\u009b\xff") {
		t.Errorf("%q", err)
	}
}

// TestDeafAgent: a guest that takes nothing holds nobody up.
func TestDeafAgent(t *testing.T) {
	for _, ask := range []func(context.Context, *agent.Client) error{
		func(ctx context.Context, c *agent.Client) error { return c.Sync(ctx) },
		func(ctx context.Context, c *agent.Client) error {
			return c.CopyIn(ctx, "/x", 0o600, -1, io.LimitReader(zeros{}, 1<<30))
		},
	} {
		block := make(chan struct{})
		c := fake(t, func(net.Conn, agentproto.Header) bool { <-block; return false })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := ask(ctx, c); err == nil || ctx.Err() == nil {
			t.Errorf("%v", err)
		}
		cancel()
		close(block)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestVersion(t *testing.T) {
	future := agentproto.Hello{Version: 9, MinVersion: 8}
	dial := fakeDialer(t, future, func(net.Conn, agentproto.Header) bool { return true })
	if _, err := agent.DialWait(t.Context(), dial); !errors.Is(err, agent.ErrVersion) {
		t.Errorf("an agent of the future: %v", err)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	asked := make(chan struct{}, 1)
	c := fake(t, func(net.Conn, agentproto.Header) bool { asked <- struct{}{}; return true })
	go func() {
		<-asked
		c.Close()
	}()
	if err := c.Sync(t.Context()); !errors.Is(err, agent.ErrClosed) {
		t.Errorf("sync: %v", err)
	}
	if _, err := c.Exec(t.Context(), agent.Command{Args: []string{"x"}}); !errors.Is(err, agent.ErrClosed) {
		t.Errorf("exec: %v", err)
	}
}
