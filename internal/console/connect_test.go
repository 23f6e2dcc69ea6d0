package console

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connection is a Connect under test: the guest's side is c and typed, the user's in and out.
type connection struct {
	c     *Console
	typed chan string
	in    *os.File // the user writes
	out   *os.File // the user reads
	done  chan struct{}
	end   End
	err   error
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// connect starts Connect on theirIn and theirOut, whose other ends are in and out.
func connect(t *testing.T, ctx context.Context, theirIn, in, theirOut, out *os.File) *connection {
	t.Helper()
	k := &connection{typed: make(chan string, 100), in: in, out: out, done: make(chan struct{})}
	k.c = New(func(p []byte) { k.typed <- string(p) })
	stream := k.c.Attach()
	go func() {
		k.end, k.err = Connect(ctx, stream, theirIn, theirOut)
		close(k.done)
	}()
	t.Cleanup(func() { k.c.Close(); <-k.done })
	return k
}

func connectPipes(t *testing.T, ctx context.Context) *connection {
	t.Helper()
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	return connect(t, ctx, inR, inW, outW, outR)
}

func (k *connection) wait(t *testing.T, want End) {
	t.Helper()
	select {
	case <-k.done:
	case <-time.After(10 * time.Second):
		t.Fatal("Connect did not return")
	}
	if k.end != want || k.err != nil {
		t.Errorf("Connect returned %v, %v; want %v", k.end, k.err, want)
	}
}

func TestConnectBytes(t *testing.T) {
	k := connectPipes(t, t.Context())
	all := pattern(100_000)
	go k.c.Write(all)
	if got := readN(t, k.out, len(all)); !bytes.Equal(got, all) {
		t.Error("printed bytes differ")
	}
	k.c.Write([]byte("x")) // a single byte comes at once
	readN(t, k.out, 1)
	typed := bytes.ReplaceAll(pattern(1000), []byte{DetachKey}, nil)
	k.in.Write(typed)
	var got string
	for len(got) < len(typed) {
		got += <-k.typed
	}
	if got != string(typed) {
		t.Error("typed bytes differ")
	}
	k.in.Close() // the end of the input ends nothing
	k.c.Write([]byte("bye"))
	k.c.Close()
	k.wait(t, Ended)
	if got := readN(t, k.out, 3); string(got) != "bye" {
		t.Errorf("the last words: %q", got)
	}
}

func TestDetach(t *testing.T) {
	k := connectPipes(t, t.Context())
	k.in.Write([]byte("ls\r" + string(rune(DetachKey)) + "rm"))
	k.wait(t, Detached)
	if got := <-k.typed; got != "ls\r" || len(k.typed) != 0 {
		t.Errorf("typed %q and %d more; want what came before the key", got, len(k.typed))
	}
}

// What is typed after the detach belongs to the next reader of the terminal.
func TestDetachLeavesInputAlone(t *testing.T) {
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	k := connect(t, t.Context(), inR, inW, outW, outR)
	inW.Write([]byte{DetachKey})
	k.wait(t, Detached)
	inW.Write([]byte("exit"))
	if got := readN(t, inR, 4); string(got) != "exit" {
		t.Errorf("%q", got)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	k := connectPipes(t, ctx)
	cancel()
	k.wait(t, Interrupted)
}

// A reader of standard output that stands still stops neither the guest nor the way out.
func TestStuckOutput(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	k := connectPipes(t, ctx)
	for range 100 {
		k.c.Write(pattern(16 << 10))
	}
	readN(t, k.out, 1) // Connect is writing, and the pipe will be full
	cancel()
	k.wait(t, Interrupted)
}

func TestOutputGone(t *testing.T) {
	k := connectPipes(t, t.Context())
	k.out.Close()
	k.c.Write([]byte("x"))
	<-k.done
	if k.err == nil || !strings.Contains(k.err.Error(), "broken pipe") {
		t.Errorf("Connect with a closed output: %v", k.err)
	}
}

// terminal makes a pseudo-terminal (pty(7)): what the user holds, and what the program gets.
func terminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

func modes(t *testing.T, f *os.File) *unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTerminalIsRawAndRestored(t *testing.T) {
	for name, end := range map[string]struct {
		how  func(k *connection, cancel func())
		want End
	}{
		"detach":    {func(k *connection, _ func()) { k.in.Write([]byte{DetachKey}) }, Detached},
		"vm ends":   {func(k *connection, _ func()) { k.c.Close() }, Ended},
		"interrupt": {func(_ *connection, cancel func()) { cancel() }, Interrupted},
	} {
		t.Run(name, func(t *testing.T) {
			user, program := terminal(t)
			before := modes(t, program)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			k := connect(t, ctx, program, user, program, user)
			k.c.Write([]byte("a\nb")) // output reaches the terminal after it was made raw, and is not changed
			if got := readN(t, user, 3); string(got) != "a\nb" {
				t.Errorf("printed %q", got)
			}
			if modes(t, program).Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
				t.Error("the terminal is not raw")
			}
			user.Write([]byte{3}) // Ctrl-C is the guest's
			if got := <-k.typed; got != "\x03" {
				t.Errorf("typed %q", got)
			}
			end.how(k, cancel)
			k.wait(t, end.want)
			if after := modes(t, program); !reflect.DeepEqual(after, before) {
				t.Error("the terminal was not restored")
			}
		})
	}
}

// A stream that breaks is an error, and the terminal is restored before it is told.
func TestBrokenStream(t *testing.T) {
	_, program := terminal(t)
	before := modes(t, program)
	r, w := io.Pipe()
	w.CloseWithError(io.ErrUnexpectedEOF)
	_, err := Connect(t.Context(), brokenStream{r}, program, program)
	if err == nil || !reflect.DeepEqual(modes(t, program), before) {
		t.Errorf("error %v, or the terminal was not restored", err)
	}
}

type brokenStream struct{ *io.PipeReader }

func (brokenStream) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
