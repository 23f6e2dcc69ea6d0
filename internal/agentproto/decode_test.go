package agentproto

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// requests and replies hold one valid message of each type.
var requests = []Message{
	Hello{Version: 1, MinVersion: 1, Capabilities: CapTTY, Program: "clone 1"},
	Exec{Args: []string{"sh", "-c", "x"}, Env: []string{"A=1", "B="}, Dir: "/tmp", User: "u:g", Stdin: true, TTY: true, Rows: 24, Cols: 80},
	Signal{Number: 15}, Resize{Rows: 1, Cols: 2}, Cancel{},
	CopyIn{Path: "/x", Mode: 0o4755, UID: 1, GID: KeepOwner, Size: SizeUnknown}, CopyOut{Path: "/x"},
	Identity{Fork: true, KeepMachineID: true, UUID: [16]byte{1}, Hostname: "a.b-c", MachineID: [16]byte{2}, CID: 3, Entropy: [32]byte{4}, WallClock: 5, Raw: 6},
	ClockGet{}, ClockCompare{GPA: 0xd0010000}, ClockAdjust{Offset: -1}, Entropy{Seed: make([]byte, 32)}, Sync{},
	Shutdown{Mode: Reboot, Force: true}, Bind{Driver: VirtioMMIO, Device: "LNRO0005:03"}, Stats{},
	Credit{Stream: Stderr, Bytes: Window},
}

var replies = []Message{
	Hello{Version: 1, MinVersion: 1, Program: "agent"},
	Credit{Stream: Stdin, Bytes: 1}, OK{}, Error{Errno: 2, Message: "no"}, Exit{Status: 137, Signal: 9},
	FileInfo{Mode: 0o644, Size: 1 << 40, ModTime: -1}, fullAck(), Clock{Realtime: 1 << 60, Raw: 1 << 50},
	Comparison{Realtime: 1 << 60, Raw: -1, Width: int64(MaxComparison), HostRealtime: 1 << 61, HostKVMClock: 5},
	StatsReply{MemTotal: 1, MemAvailable: 2, Uptime: 3, Load: [3]uint32{4, 5, 6}, Processes: 7, Realtime: 8},
}

func fullAck() Ack {
	var a Ack
	for i := range items {
		a.Items = append(a.Items, ItemResult{Item: i, Outcome: Outcome(i) % outcomes, Detail: "d"})
	}
	return a
}

type decodeFunc func(Type, []byte) (Message, error)

func TestRoundTrip(t *testing.T) {
	for _, dir := range []struct {
		decode   decodeFunc
		messages []Message
	}{{DecodeRequest, requests}, {DecodeReply, replies}} {
		for _, want := range dir.messages {
			frame, err := AppendFrame(nil, 7, want)
			if err != nil {
				t.Fatal(err)
			}
			h, payload, err := NewReader(bytes.NewReader(frame)).Next()
			if err != nil || h.ID != 7 || h.Type != want.Type() {
				t.Fatalf("%T: header %+v, %v", want, h, err)
			}
			got, err := dir.decode(h.Type, payload)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%T: %+v, %v; want %+v", want, got, err, want)
			}
			// Too short by any number of bytes, or too long, is never accepted;
			// Entropy alone has no inner structure.
			if _, ok := want.(Entropy); ok {
				continue
			}
			for n := range payload {
				if m, err := dir.decode(h.Type, payload[:n]); !errors.Is(err, ErrProtocol) || m != nil {
					t.Errorf("%T cut to %d bytes: %+v, %v", want, n, m, err)
				}
			}
			if _, err := dir.decode(h.Type, append(bytes.Clone(payload), 0)); !errors.Is(err, ErrProtocol) {
				t.Errorf("%T with a byte more: %v", want, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	id := Identity{UUID: [16]byte{1}, Hostname: "h", MachineID: [16]byte{1}, Entropy: [32]byte{1}, WallClock: 1}
	if err := id.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []func(*Identity){
		func(m *Identity) { m.UUID = [16]byte{} },
		func(m *Identity) { m.MachineID = [16]byte{} },
		func(m *Identity) { m.Entropy = [32]byte{} },
		func(m *Identity) { m.WallClock = 0 },
		func(m *Identity) { m.Hostname = "a b" },
	} {
		bad := id
		spoil(&bad)
		if bad.Validate() == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
	for _, m := range []Message{
		Exec{}, Exec{Args: []string{""}}, Exec{Args: []string{"a\x00"}}, Exec{Args: []string{"a"}, Env: []string{"=x"}},
		Exec{Args: []string{"a"}, Dir: "rel"}, Signal{}, Signal{Number: 65}, CopyIn{Path: "rel"}, CopyIn{Path: "/x", Mode: 0o10000},
		CopyIn{Path: "/" + strings.Repeat("x", 4096)}, CopyOut{Path: ""}, Entropy{Seed: make([]byte, 15)}, Shutdown{Mode: 2},
		Bind{Driver: "e1000", Device: "x"}, Bind{Driver: VirtioMMIO, Device: "../x"}, Credit{Stream: 3, Bytes: 1},
		Credit{Stream: 1}, Credit{Stream: 1, Bytes: Window + 1}, OK{},
	} {
		if got, err := DecodeRequest(m.Type(), m.append(nil)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%+v: %+v, %v", m, got, err)
		}
	}
	short := fullAck()
	short.Items = short.Items[:5]
	for _, m := range []Message{
		short, Ack{}, FileInfo{Mode: 1 << 16}, Error{Errno: 4096}, Sync{}, Comparison{Width: -1}, Comparison{Width: int64(MaxComparison) + 1},
	} {
		if got, err := DecodeReply(m.Type(), m.append(nil)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%+v: %+v, %v", m, got, err)
		}
	}
	if _, err := DecodeRequest(0x3f, nil); err != ErrUnknown {
		t.Errorf("a request of the future: %v", err)
	}
}

func TestHostnames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "fork-1": true, "A.b.c9": true, "my_vm": true, strings.Repeat("x", 64): true,
		"": false, "-a": false, "a-": false, "a..b": false, ".a": false, "a.": false, "a-.b": false, "a b": false,
		"a\n": false, "é": false, strings.Repeat("x", 65): false,
	} {
		if ValidHostname(name) != want {
			t.Errorf("ValidHostname(%q) is %v", name, !want)
		}
	}
}

func TestAgree(t *testing.T) {
	for _, tt := range []struct {
		a, b Hello
		want uint16
		ok   bool
	}{
		{Hello{Version: 1, MinVersion: 1}, Hello{Version: 1, MinVersion: 1}, 1, true},
		{Hello{Version: 3, MinVersion: 1}, Hello{Version: 2, MinVersion: 2}, 2, true},
		{Hello{Version: 3, MinVersion: 3}, Hello{Version: 2, MinVersion: 1}, 2, false},
	} {
		if v, ok := Agree(tt.a, tt.b); v != tt.want || ok != tt.ok {
			t.Errorf("Agree(%+v, %+v) = %d, %v", tt.a, tt.b, v, ok)
		}
		if _, ok := Agree(tt.b, tt.a); ok != tt.ok {
			t.Error("Agree is not symmetric")
		}
	}
}

func fuzz(f *testing.F, decode decodeFunc, seeds []Message) {
	for _, m := range seeds {
		f.Add(byte(m.Type()), m.append(nil))
	}
	f.Fuzz(func(t *testing.T, typ byte, payload []byte) {
		m, err := decode(Type(typ), bytes.Clone(payload))
		if err != nil {
			if m != nil {
				t.Errorf("message %+v with error %v", m, err)
			}
			return
		}
		if m.Type() != Type(typ) {
			t.Errorf("type %#x decoded as %#x", typ, m.Type())
		}
		// What was accepted is stable: it decodes to itself. Only texts for
		// people are changed, once.
		again, err := decode(m.Type(), m.append(nil))
		if err != nil {
			// A replaced byte is never longer than what it stood for.
			t.Fatalf("%+v does not decode: %v", m, err)
		}
		if !reflect.DeepEqual(again, m) {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}

func FuzzDecodeRequest(f *testing.F) { fuzz(f, DecodeRequest, requests) }
func FuzzDecodeReply(f *testing.F)   { fuzz(f, DecodeReply, replies) }
