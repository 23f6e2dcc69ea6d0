package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// vsockPath is the Unix socket by which the host reaches a VM's ports.
func (h *host) vsockPath(vm string) string { return filepath.Join(h.dir, "run", vm, "vsock.sock") }

// connect asks for a port of the guest. It returns the VMM's answer line, "" where it hangs up instead.
func (h *host) connect(t *testing.T, vm string, port int) (*net.UnixConn, *bufio.Reader, string) {
	t.Helper()
	conn, err := net.Dial("unix", h.vsockPath(vm))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %d\n", port)
	r := bufio.NewReader(conn)
	line, _ := r.ReadString('\n')
	return conn.(*net.UnixConn), r, strings.TrimSpace(line)
}

func TestVsockHostToGuest(t *testing.T) {
	h, vm := standingVM(t)
	h.installProgram(t, vm)
	k := h.talk(t, "exec", "--vm-id", vm, "--", "/run/guestprog", "listen", "7777")
	k.expect(t, "listening")

	var several sync.WaitGroup
	for i := range 4 {
		size := int64(i) * 2 << 20
		conn, r, line := h.connect(t, vm, 7777)
		if !strings.HasPrefix(line, "OK ") {
			t.Fatalf("CONNECT is answered %q", line)
		}
		several.Go(func() {
			if _, err := io.Copy(conn, noise(size)); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
			conn.CloseWrite()
			answer, err := io.ReadAll(r)
			if want := digest(noise(size)) + "\n"; err != nil || string(answer) != want {
				t.Errorf("the guest received %q, want %q; %v", answer, want, err)
			}
		})
	}
	several.Wait()
	if _, _, line := h.connect(t, vm, 7778); strings.HasPrefix(line, "OK") {
		t.Errorf("a port where nobody listens: %q", line)
	}
}

func TestVsockGuestToHost(t *testing.T) {
	h, vm := standingVM(t)
	h.installProgram(t, vm)
	l, err := net.Listen("unix", h.vsockPath(vm)+"_8888")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	received := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			received <- err.Error()
			return
		}
		defer conn.Close()
		got := digest(conn)
		io.WriteString(conn, "thanks")
		received <- got
	}()
	const size = 8<<20 + 7
	sent, answer, _ := strings.Cut(h.exec(t, vm, "/run/guestprog", "send", "8888", fmt.Sprint(size)), "\n")
	if got, want := <-received, digest(noise(size)); got != want || sent != want || answer != "thanks" {
		t.Errorf("sent %q, received %q, want %q; answer %q", sent, got, want, answer)
	}
	r := h.run(limit, nil, "exec", "--vm-id", vm, "--", "/run/guestprog", "send", "8889", "1")
	if r.status != 1 || !strings.Contains(r.err, "connect: connection reset by peer") {
		t.Errorf("a port of the host where nobody listens: %+v", r)
	}
}

// The sockets are the user's alone.
func TestSocketModes(t *testing.T) {
	h, vm := standingVM(t)
	for path, want := range map[string]os.FileMode{
		filepath.Join(h.dir, "run"):     0o700 | os.ModeDir,
		filepath.Join(h.dir, "run", vm): 0o700 | os.ModeDir,
		h.vsockPath(vm):                 0o600 | os.ModeSocket,
	} {
		if got := statOf(t, path).Mode(); got != want {
			t.Errorf("%s has mode %v, want %v", path, got, want)
		}
	}
}
