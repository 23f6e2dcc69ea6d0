package control

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	consolePath     = "/v1/vm/console"
	consoleProtocol = "clone-console"
	switching       = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + consoleProtocol + "\r\n\r\n"
)

// console turns the connection into a stream of bytes to and from the serial port (RFC 9110 §7.8). The stream ends when
// the machine does, or when the client closes its side.
func (s *server) console(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet || !strings.EqualFold(req.Header.Get("Upgrade"), consoleProtocol) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", consoleProtocol)
		writeError(w, http.StatusUpgradeRequired, "the console is a byte stream: GET it with Connection: Upgrade, Upgrade: "+consoleProtocol)
		return
	}
	stream, err := s.machine.Console()
	if err != nil {
		writeError(w, statusOf(err), err.Error())
		return
	}
	defer stream.Close()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		writeError(w, http.StatusInternalServerError, err.Error())
		return
	}
	defer s.conns.Done() // the server no longer counts this connection
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	stop := context.AfterFunc(s.ending, func() { conn.Close() })
	defer stop()

	typed := make(chan struct{})
	go func() {
		defer close(typed)
		_, _ = io.Copy(stream, buffered.Reader)
		stream.Close()
	}()
	if _, err := io.WriteString(conn, switching); err == nil {
		_, _ = io.Copy(conn, stream) // either side may end it, and needs no reason
	}
	conn.Close()
	<-typed
}
