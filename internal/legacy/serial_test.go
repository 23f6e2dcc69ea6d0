package legacy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"testing"

	"clone/internal/x86"
)

// line records an interrupt line.
type line struct {
	level bool
	edges int // rising
}

func (l *line) set(level bool) {
	if level && !l.level {
		l.edges++
	}
	l.level = level
}

// port drives a Serial as a driver does.
type port struct {
	t testing.TB
	*Serial
	irq *line
	out *bytes.Buffer // read after Close
}

func newPort(t testing.TB) *port {
	p := &port{t: t, irq: &line{}, out: &bytes.Buffer{}}
	p.Serial = NewSerial(p.out, p.irq.set)
	t.Cleanup(p.Close)
	return p
}

func (p *port) in(reg uint16) uint8 {
	var b [1]byte
	p.Read(x86.PortCOM1+reg, b[:])
	return b[0]
}

func (p *port) outb(reg uint16, v uint8) { p.Write(x86.PortCOM1+reg, []byte{v}) }

func (p *port) want(what string, got, want uint8) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s: %#x, want %#x", what, got, want)
	}
}

// What Linux' autoconfig does to tell a 16550A from its relatives (drivers/tty/serial/8250/8250_port.c).
func TestSerialProbe(t *testing.T) {
	p := newPort(t)
	p.outb(regIER, 0)
	p.want("ier off", p.in(regIER), 0)
	p.outb(regIER, 0x0f)
	p.want("ier on", p.in(regIER), 0x0f)
	p.outb(regIER, 0)

	p.outb(regMCR, mcrLoop|mcrOut2|mcrRTS)
	p.want("looped modem lines", p.in(regMSR)&0xf0, msrDCD|msrCTS)
	p.outb(regMCR, 0)

	p.outb(regIIR, fcrEnable)
	p.want("fifo is there", p.in(regIIR)&0xc0, 0xc0)
	p.outb(regIIR, 0x21) // a TI16750 would answer with bit 5
	p.want("64 byte fifo", p.in(regIIR)&0x20, 0)
	p.outb(regIER, 1<<6) // an XScale would keep it
	p.want("uart unit enable", p.in(regIER), 0)
	p.outb(regSCR, 0xa5)
	p.want("scratch", p.in(regSCR), 0xa5)

	p.outb(regLCR, lcrDLAB)
	p.Write(x86.PortCOM1, []byte{0x34, 0x12}) // a word to the divisor
	p.want("divisor low", p.in(0), 0x34)
	p.want("divisor high", p.in(1), 0x12)
	p.outb(regLCR, 3)
	p.want("ier behind the divisor", p.in(regIER), 0)
}

// Linux' test for a broken transmit interrupt, in serial8250_do_startup: enabling it twice must raise it twice.
func TestSerialTHRE(t *testing.T) {
	p := newPort(t)
	for round := range 2 {
		p.outb(regIER, ierTHRE)
		if !p.irq.level {
			t.Fatalf("round %d: no interrupt", round)
		}
		p.want("iir", p.in(regIIR), iirTHRE)
		if p.irq.level {
			t.Fatalf("round %d: reading iir did not take the interrupt", round)
		}
		p.want("iir again", p.in(regIIR), iirNone)
		p.outb(regIER, 0)
	}
	p.outb(regIER, ierTHRE)
	p.in(regIIR)
	before := p.irq.edges
	p.outb(regData, 'x')
	if p.irq.edges != before+1 {
		t.Error("a sent byte raised no interrupt")
	}
	p.Close()
	if p.out.String() != "x" {
		t.Errorf("sent %q", p.out)
	}
}

func TestSerialReceive(t *testing.T) {
	p := newPort(t)
	p.outb(regIIR, fcrEnable|0x80) // trigger at 8
	p.outb(regIER, ierReceive)
	mustInput(t, p, "abc")
	p.want("fewer than the trigger", p.in(regIIR), iirFIFO|iirTimeout)
	mustInput(t, p, "defgh")
	p.want("the trigger", p.in(regIIR), iirFIFO|iirReceive)
	for i, want := range []byte("abcdefgh") {
		p.want("lsr", p.in(regLSR)&lsrData, lsrData)
		p.want(fmt.Sprint("byte ", i), p.in(regData), want)
	}
	p.want("lsr at the end", p.in(regLSR), lsrTHRE|lsrTEMT)
	if p.irq.level {
		t.Error("the line is still high")
	}
	mustInput(t, p, "lost")
	p.outb(regIIR, fcrEnable|fcrClearRX)
	p.want("lsr after a clear", p.in(regLSR)&lsrData, 0)
}

func mustInput(t *testing.T, p *port, s string) {
	t.Helper()
	if n, err := p.Input([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("input took %d of %d bytes: %v", n, len(s), err)
	}
}

// A guest that reads slowly gets every byte, and its writer waits meanwhile.
func TestSerialInputWaits(t *testing.T) {
	p := newPort(t)
	p.outb(regIIR, fcrEnable)
	sent := bytes.Repeat([]byte("0123456789"), 100)
	done := make(chan error)
	go func() {
		_, err := p.Input(sent)
		done <- err
	}()
	var got []byte
	for len(got) < len(sent) {
		if p.in(regLSR)&lsrData != 0 {
			got = append(got, p.in(regData))
		}
	}
	if err := <-done; err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v: got %q", err, got)
	}
}

func TestSerialInputEndsWithClose(t *testing.T) {
	p := newPort(t)
	mustInput(t, p, "x") // without a FIFO there is room for one byte
	done := make(chan error)
	go func() {
		_, err := p.Input([]byte("y"))
		done <- err
	}()
	p.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestSerialLoopback(t *testing.T) {
	p := newPort(t)
	p.outb(regIIR, fcrEnable)
	p.outb(regMCR, mcrLoop)
	for i := range fifoSize + 1 {
		p.outb(regData, byte(i))
	}
	p.want("overrun", p.in(regLSR), lsrTHRE|lsrTEMT|lsrData|lsrOverrun)
	p.want("overrun taken", p.in(regLSR)&lsrOverrun, 0)
	p.want("first byte", p.in(regData), 0)
	p.in(regMSR)
	p.outb(regMCR, mcrLoop|mcrRTS|mcrOut1)
	p.want("rising cts, ri", p.in(regMSR), msrCTS|msrRI|1)
	p.outb(regMCR, mcrLoop)
	p.outb(regIER, ierModem)
	p.want("modem interrupt", p.in(regIIR), iirFIFO|iirModem)
	p.want("falling cts, ri", p.in(regMSR), 1|4)
	p.want("modem interrupt taken", p.in(regIIR), iirFIFO|iirNone)
	p.Close()
	if p.out.Len() != 0 {
		t.Errorf("loopback sent %q", p.out)
	}
}

// Saved in the middle of things (bytes received and not read, transmit interrupt waiting, line high), through JSON and into
// another port, the driver goes on as if nothing had happened.
func TestSerialSaveLoad(t *testing.T) {
	a := newPort(t)
	a.outb(regLCR, lcrDLAB)
	a.outb(0, 12)
	a.outb(regLCR, 3)
	a.outb(regIIR, fcrEnable|0xc0)
	a.outb(regMCR, mcrDTR|mcrRTS|mcrOut2)
	a.outb(regSCR, 0x77)
	a.outb(regIER, ierReceive|ierTHRE)
	mustInput(t, a, "input")
	saved := throughJSON(t, a.Save())

	b := newPort(t)
	if err := b.Load(saved); err != nil {
		t.Fatal(err)
	}
	if !b.irq.level {
		t.Error("the line is low after the restore")
	}
	if got := b.Save(); !reflect.DeepEqual(got, saved) {
		t.Errorf("saved %+v, restored %+v", saved, got)
	}
	for _, want := range []byte("input") {
		b.want("byte", b.in(regData), want)
	}
	b.want("transmit interrupt", b.in(regIIR), iirFIFO|iirTHRE)
	if b.irq.level {
		t.Error("the line is high with nothing pending")
	}
	b.irq.level = true // what KVM's interrupt controllers may hold
	idle := newPort(t).Save()
	if err := b.Load(idle); err != nil || b.irq.level {
		t.Errorf("the line was not driven low: %v", err)
	}
	idle.Receive = make([]byte, fifoSize+1)
	if b.Load(idle) == nil {
		t.Error("a state with too much received was taken")
	}
}

func throughJSON[T any](t *testing.T, in T) (out T) {
	t.Helper()
	raw, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stuck is a reader that does not read until it is let go.
type stuck struct {
	release chan struct{}
	mu      sync.Mutex
	got     []byte
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, p...)
	return len(p), nil
}

// A reader that is stuck never stops the guest; it loses the oldest bytes, which are counted, and the newest arrive.
func TestSerialOutputNeverBlocks(t *testing.T) {
	w := &stuck{release: make(chan struct{})}
	s := NewSerial(w, func(bool) {})
	const total = 3 * SinkSize
	for i := range total {
		s.Write(x86.PortCOM1, []byte{byte(i % 251)})
	}
	close(w.release)
	s.Close()
	if got := uint64(len(w.got)) + s.Dropped(); got != total {
		t.Errorf("%d written + %d dropped, want %d", len(w.got), s.Dropped(), total)
	}
	if len(w.got) < SinkSize {
		t.Fatalf("only %d bytes arrived", len(w.got))
	}
	for i, b := range w.got[len(w.got)-SinkSize:] {
		if want := byte((total - SinkSize + i) % 251); b != want {
			t.Fatalf("byte %d from the end is %d, want %d", SinkSize-i, b, want)
		}
	}
}

func TestSinkReaderGone(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	s := NewSink(w)
	_, _ = s.Write([]byte("hello"))
	s.Close()
	_, _ = s.Write([]byte("late"))
	if s.Dropped() != 9 {
		t.Errorf("%d bytes dropped, want 9", s.Dropped())
	}
}

// fuzzPorts plays data as accesses: port, size and direction, then the bytes of a write.
func fuzzPorts(data []byte, base, span uint16, read, write func(uint16, []byte)) {
	for len(data) >= 2 {
		port, n := base+uint16(data[0])%span, 1<<(data[1]>>1&3)
		isWrite := data[1]&1 == 1
		data = data[2:]
		buf := make([]byte, n)
		if isWrite {
			data = data[copy(buf, data):]
			write(port, buf)
			continue
		}
		read(port, buf)
	}
}

func FuzzSerial(f *testing.F) {
	f.Add([]byte{2, 1, 1, 1, 1, 3, 0, 1, 'x', 2, 0, 4, 1, 0x10, 0, 1, 'y', 5, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newPort(t)
		fuzzPorts(data, x86.PortCOM1, x86.PortCOM1Len, p.Read, p.Write)
		st := p.Save()
		if len(st.Receive) > fifoSize {
			t.Fatalf("%d bytes in the fifo", len(st.Receive))
		}
		q := newPort(t)
		if err := q.Load(st); err != nil {
			t.Fatalf("a saved state is refused: %v", err)
		}
		if q.irq.level != p.irq.level || !reflect.DeepEqual(q.Save(), st) {
			t.Fatalf("saved %+v, restored %+v", st, q.Save())
		}
	})
}
