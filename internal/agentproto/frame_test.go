package agentproto

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestHeaderRefused(t *testing.T) {
	ok := Header{Length: 1, Type: TypeData, Flags: Flags(Stderr) | FlagEnd, ID: 1}
	tests := []struct {
		name string
		bad  func(b []byte)
	}{
		{"long data", func(b []byte) { b[2] = 1; b[0] = 1 }},
		{"very long", func(b []byte) { b[3] = 0xff }},
		{"reserved", func(b []byte) { b[6] = 1 }},
		{"reserved 2", func(b []byte) { b[7] = 1 }},
		{"stream 3", func(b []byte) { b[5] = 3 }},
		{"flags on a message", func(b []byte) { b[4] = byte(TypeSync) }},
		{"id 0", func(b []byte) { b[8] = 0 }},
	}
	var b [HeaderSize]byte
	ok.Put(b[:])
	if h, err := ParseHeader(&b); err != nil || h != ok {
		t.Fatalf("%+v, %v", h, err)
	}
	for _, tt := range tests {
		ok.Put(b[:])
		tt.bad(b[:])
		if h, err := ParseHeader(&b); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %+v, %v", tt.name, h, err)
		}
	}
}

// TestReader reads frames of all sizes from a stream that gives single bytes.
func TestReader(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, keep, keep + 1, MaxData, 3}
	for i, n := range sizes {
		b := append(make([]byte, HeaderSize), bytes.Repeat([]byte{byte(i)}, n)...)
		PutData(b, uint32(i+1), Stdout, n == 3)
		stream = append(stream, b...)
	}
	big := Exec{Args: []string{strings.Repeat("x", 500<<10)}}
	stream, err := AppendFrame(stream, 99, big)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(iotest.OneByteReader(bytes.NewReader(stream)))
	for i, n := range sizes {
		h, p, err := r.Next()
		if err != nil || h.ID != uint32(i+1) || !bytes.Equal(p, bytes.Repeat([]byte{byte(i)}, n)) || h.Flags.End() != (n == 3) || h.Flags.Stream() != Stdout {
			t.Fatalf("frame %d: %+v, %d bytes, %v", i, h, len(p), err)
		}
	}
	if h, p, err := r.Next(); err != nil || h.Type != TypeExec || len(p) < 500<<10 {
		t.Fatalf("%+v, %v", h, err)
	}
	if cap(r.buf) > MaxData {
		t.Error("the buffer of an Exec was kept")
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	for _, n := range []int{1, HeaderSize - 1, HeaderSize} {
		_, _, err := NewReader(bytes.NewReader(stream[HeaderSize:][:n])).Next()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	before := []byte("before")
	b, err := AppendFrame(before, 1, Exec{Args: []string{strings.Repeat("x", MaxExec)}})
	if err != ErrTooLarge || string(b) != "before" {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := AppendFrame(nil, 1, CopyOut{Path: strings.Repeat("x", MaxData)}); err != ErrTooLarge {
		t.Errorf("%v", err)
	}
	// Texts are cut to what the other end accepts.
	b, err = AppendFrame(nil, 1, NewError(errors.New(strings.Repeat("x", MaxData))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeReply(TypeError, b[HeaderSize:]); err != nil {
		t.Error(err)
	}
}

func TestError(t *testing.T) {
	_, err := os.Open("/no/such/file")
	e := NewError(err)
	if !errors.Is(e, fs.ErrNotExist) || !errors.Is(e, syscall.ENOENT) || errors.Is(e, syscall.EACCES) || !strings.Contains(e.Error(), "/no/such/file") {
		t.Errorf("%+v", e)
	}
	if e := NewError(io.EOF); e.Errno != 0 || errors.Is(e, syscall.Errno(0)) {
		t.Errorf("%+v", e)
	}
	a := fullAck()
	if err := a.Err(); err == nil || !strings.Contains(err.Error(), "machine-id") {
		t.Errorf("%v", err) // item 3 has outcome 3
	}
}

func FuzzReader(f *testing.F) {
	for _, m := range append(requests, replies...) {
		b, _ := AppendFrame(nil, 1, m)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewReader(bytes.NewReader(stream))
		for left := len(stream); ; {
			h, p, err := r.Next()
			if err != nil {
				return
			}
			if left -= HeaderSize + len(p); left < 0 || int(h.Length) != len(p) || h.ID == 0 {
				t.Fatalf("%+v with %d bytes", h, len(p))
			}
		}
	})
}
