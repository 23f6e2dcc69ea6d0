package inside

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFrames(t *testing.T) {
	big := make([]byte, 3*maxPayload+7)
	rand.Read(big)
	var wire bytes.Buffer
	w := NewFrameWriter(&wire)
	if err := errors.Join(w.Write(Stdout, []byte("out")), w.Write(Stderr, big), w.Copy(Stdin, bytes.NewReader(big)), w.Write(Stdin, nil)); err != nil {
		t.Fatal(err)
	}
	got := map[Kind][]byte{}
	var last []byte
	for {
		kind, payload, err := ReadFrame(&wire)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[kind] = append(got[kind], payload...)
		last = payload
	}
	if diff := cmp.Diff(map[Kind][]byte{Stdout: []byte("out"), Stderr: big, Stdin: big}, got); diff != "" {
		t.Error(diff)
	}
	if len(last) != 0 {
		t.Errorf("the empty frame at the end has %d bytes", len(last))
	}
}

func TestReadFrameRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		wire string
		want error // nil: any
	}{
		"nothing":      {"", io.EOF},
		"half header":  {"\x02\x00", io.ErrUnexpectedEOF},
		"no payload":   {"\x02\x01\x00\x00\x00", io.ErrUnexpectedEOF},
		"half payload": {"\x02\x02\x00\x00\x00x", io.ErrUnexpectedEOF},
		"kind 0":       {"\x00\x00\x00\x00\x00", nil},
		"kind 6":       {"\x06\x00\x00\x00\x00", nil},
		"too long":     {"\x02\xff\xff\xff\xff", nil},
	} {
		_, _, err := ReadFrame(strings.NewReader(test.wire))
		if err == nil || test.want != nil && err != test.want {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x02\x03\x00\x00\x00abc"))
	f.Add([]byte("\x05\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		kind, payload, err := ReadFrame(bytes.NewReader(wire))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := NewFrameWriter(&again).Write(kind, payload); err != nil || !bytes.HasPrefix(wire, again.Bytes()) {
			t.Errorf("%q was read as kind %d, %q", wire, kind, payload)
		}
	})
}

func TestParseStatus(t *testing.T) {
	for payload, want := range map[string]int{`{"Exit":0}`: 0, `{"Exit":143}`: 143} {
		if got, err := ParseStatus([]byte(payload)); got != want || err != nil {
			t.Errorf("%s: %d, %v", payload, got, err)
		}
	}
	for payload, want := range map[string]string{
		``:                             "unreadable",
		`{`:                            "unreadable",
		`{"Exit":256}`:                 "impossible",
		`{"Exit":-1}`:                  "impossible",
		`{"Error":"no disk"}`:          "no disk",
		`{"Exit":1,"Error":"no disk"}`: "no disk",
	} {
		if _, err := ParseStatus([]byte(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", payload, err, want)
		}
	}
}

func TestOrder(t *testing.T) {
	dir := t.TempDir()
	want := Order{
		Command: []string{"sh", "-c", `echo "it's" $HOME` + "\n\t\\"}, Dir: "/a b", Env: []string{"A=b c\n"},
		Writable: []string{"/x"}, Kernel: "/k", Modules: []string{"/m"}, Stdin: true,
	}
	if err := WriteOrder(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := readOrder(dir)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := WriteOrder(dir, Order{}); err != nil {
		t.Fatal(err)
	}
	if _, err := readOrder(dir); err == nil {
		t.Error("an order without a command was accepted")
	}
}

func TestIsInit(t *testing.T) {
	if IsInit() {
		t.Error("a test is not process 1")
	}
}

// result is what the other side of the port got.
type result struct {
	stdout, stderr string
	exit           int
}

// executeHere executes an order on this machine.
func executeHere(t *testing.T, order Order, stdin string) result {
	t.Helper()
	order.Dir = t.TempDir()
	order.Env = append(order.Env, "PATH="+os.Getenv("PATH"))
	ours, theirs := net.Pipe()
	defer ours.Close()
	var r result
	read := make(chan error, 1)
	go func() {
		for {
			kind, payload, err := ReadFrame(ours)
			switch {
			case err != nil:
				read <- err
				return
			case kind == Stdout:
				r.stdout += string(payload)
			case kind == Stderr:
				r.stderr += string(payload)
			}
		}
	}()
	w := NewFrameWriter(ours)
	go SendAlive(w, time.Millisecond) // anywhere between the others
	if order.Stdin {
		go func() {
			w.Copy(Stdin, strings.NewReader(stdin))
			w.Write(Stdin, nil)
		}()
	}
	exit, err := execute(order, theirs)
	theirs.Close()
	if readErr := <-read; err != nil || readErr != io.EOF {
		t.Fatalf("execute: %v; read: %v", err, readErr)
	}
	r.exit = exit
	return r
}

func TestExecute(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")) // execute sets it
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Chdir(dir)
	for name, test := range map[string]struct {
		order Order
		stdin string
		want  result
	}{
		"streams":     {Order{Command: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}}, "", result{"out\n", "err\n", 3}},
		"by name":     {Order{Command: []string{"sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr"}}, "", result{"out\n", "err\n", 0}},
		"environment": {Order{Command: []string{"sh", "-c", `echo "$A"`}, Env: []string{"A=it's \"a\" $b"}}, "", result{"it's \"a\" $b\n", "", 0}},
		"signal":      {Order{Command: []string{"sh", "-c", "kill -KILL $$"}}, "", result{"", "", 137}},
		"no stdin":    {Order{Command: []string{"cat"}}, "", result{}},
		"stdin":       {Order{Command: []string{"cat"}, Stdin: true}, strings.Repeat("in ", 100_000), result{strings.Repeat("in ", 100_000), "", 0}},
		"much":        {Order{Command: []string{"sh", "-c", "head -c 1000000 /dev/zero"}}, "", result{strings.Repeat("\x00", 1_000_000), "", 0}},
		"orphan":      {Order{Command: []string{"sh", "-c", "sleep 5 & echo done"}}, "", result{"done\n", "", 0}},
		"not found":   {Order{Command: []string{"no-such-program"}}, "", result{"", "testhost: exec: \"no-such-program\": executable file not found in $PATH\n", 127}},
		"no program":  {Order{Command: []string{"/etc/passwd"}}, "", result{"", "testhost: exec: \"/etc/passwd\": permission denied\n", 126}},
	} {
		t.Run(name, func(t *testing.T) {
			got := executeHere(t, test.order, test.stdin)
			if got != test.want {
				t.Errorf("got %.200q %.200q %d\nwant %.200q %.200q %d",
					got.stdout, got.stderr, got.exit, test.want.stdout, test.want.stderr, test.want.exit)
			}
		})
	}
}
