package legacy

import (
	"testing"

	"clone/internal/x86"
)

type kbd struct {
	*I8042
	resets int
}

func newKbd() *kbd {
	k := &kbd{}
	k.I8042 = NewI8042(func() { k.resets++; k.Save() }) // Save: it is called unlocked
	return k
}

func (k *kbd) in(port uint16) uint8 {
	var b [1]byte
	k.Read(port, b[:])
	return b[0]
}

func (k *kbd) command(b uint8) { k.Write(x86.PortI8042Cmd, []byte{b}) }
func (k *kbd) data(b uint8)    { k.Write(x86.PortI8042, []byte{b}) }
func (k *kbd) full() bool      { return k.in(x86.PortI8042Cmd)&kbdStatusFull != 0 }

func TestI8042Reset(t *testing.T) {
	for _, tc := range []struct {
		name   string
		do     func(*kbd)
		resets int
	}{
		{"pulse", func(k *kbd) { k.command(0xfe) }, 1},
		{"pulse of another line", func(k *kbd) { k.command(0xfd) }, 0},
		{"output port", func(k *kbd) { k.command(kbdWriteOutput); k.data(0xfe) }, 1},
		{"output port, reset not pulled", func(k *kbd) { k.command(kbdWriteOutput); k.data(0xdf) }, 0},
		{"a byte for the keyboard", func(k *kbd) { k.data(0xfe) }, 0},
		{"unknown command", func(k *kbd) { k.command(0xc0) }, 0},
	} {
		k := newKbd()
		if tc.do(k); k.resets != tc.resets {
			t.Errorf("%s: %d resets, want %d", tc.name, k.resets, tc.resets)
		}
	}
}

// Linux' probe: flush, self test, configuration, and the questions that tell it there is no mouse port. Each has an answer
// at once: a missing one costs half a second.
func TestI8042Probe(t *testing.T) {
	k := newKbd()
	ask := func(command uint8, params ...uint8) uint8 {
		t.Helper()
		k.command(command)
		for _, b := range params {
			k.data(b)
		}
		if !k.full() {
			t.Fatalf("command %#x has no answer", command)
		}
		return k.in(x86.PortI8042)
	}
	if k.full() {
		t.Error("there is something to flush")
	}
	if got := ask(kbdSelfTest); got != 0x55 {
		t.Errorf("self test %#x", got)
	}
	k.command(kbdWriteConfig)
	k.data(0x47)
	if got := ask(kbdReadConfig); got != 0x47 {
		t.Errorf("config %#x", got)
	}
	k.command(kbdAuxOff)
	k.command(kbdOff)
	if got := ask(kbdReadConfig); got != 0x47|kbdConfigAuxOff|kbdConfigKbdOff {
		t.Errorf("ports off: config %#x", got)
	}
	k.command(kbdAuxOn)
	k.command(kbdOn)
	if got := ask(kbdReadConfig); got != 0x47 {
		t.Errorf("ports on: config %#x", got)
	}
	if got := ask(kbdTest); got != 0 {
		t.Errorf("keyboard line test %#x", got)
	}
	if got := ask(kbdAuxTest); got == 0 || got == 0xff || got == 0xfa {
		t.Errorf("mouse line test %#x says that there is one", got)
	}
	k.command(kbdWriteAux)
	k.data(0x5a)
	if k.in(x86.PortI8042Cmd)&(1<<5) != 0 {
		t.Error("the loop answers from the mouse port")
	}
	if got := k.in(x86.PortI8042); got != 0x5a || k.full() {
		t.Errorf("loop %#x", got)
	}
}

func TestI8042SaveLoad(t *testing.T) {
	a := newKbd()
	a.command(kbdSelfTest)    // an answer nobody has read,
	a.command(kbdWriteOutput) // and a command without its parameter
	saved := throughJSON(t, a.Save())
	b := newKbd()
	if err := b.Load(saved); err != nil {
		t.Fatal(err)
	}
	if !b.full() || b.in(x86.PortI8042) != 0x55 {
		t.Error("the answer is lost")
	}
	if b.data(0xfe); b.resets != 1 {
		t.Error("the command is lost")
	}
	if b.Load(I8042State{Command: 0x33}) == nil {
		t.Error("a command without parameter was taken")
	}
}

func FuzzI8042(f *testing.F) {
	f.Add([]byte{4, 1, 0xfe, 0, 0, 4, 1, 0xd1, 0, 1, 0xfe})
	f.Fuzz(func(t *testing.T, data []byte) {
		k := newKbd()
		fuzzPorts(data, x86.PortI8042, 8, k.Read, k.Write)
		if err := newKbd().Load(k.Save()); err != nil {
			t.Fatalf("a saved state is refused: %v", err)
		}
	})
}
