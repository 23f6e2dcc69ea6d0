package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// maxReply bounds the line that answers CONNECT: "OK ", a port, and the newline.
const maxReply = 32

// DialVsockUnix connects to a port of the guest through the Unix socket of its
// vsock device, with Firecracker's handshake: "CONNECT port\n", answered by
// "OK hostport\n". The reply is read byte by byte, so that nothing of the stream
// behind it is lost.
func DialVsockUnix(ctx context.Context, path string, port uint32) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	err = connectPort(conn, port)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline is set or about to be
	}
	if err != nil {
		conn.Close()
		if cause := ctx.Err(); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("vsock port %d through %s: %w", port, path, err)
	}
	return conn, nil
}

func connectPort(conn net.Conn, port uint32) error {
	if _, err := conn.Write([]byte("CONNECT " + strconv.FormatUint(uint64(port), 10) + "\n")); err != nil {
		return err
	}
	var line [maxReply]byte
	for n := range line {
		if _, err := conn.Read(line[n : n+1]); err != nil {
			return fmt.Errorf("nothing listens there yet: %w", err)
		}
		if line[n] != '\n' {
			continue
		}
		rest, ok := strings.CutPrefix(string(line[:n]), "OK ")
		if _, err := strconv.ParseUint(rest, 10, 32); !ok || err != nil {
			return fmt.Errorf("unexpected answer %q to CONNECT", line[:n])
		}
		return nil
	}
	return errors.New("endless answer to CONNECT")
}
