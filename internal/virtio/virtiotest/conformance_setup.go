package virtiotest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"clone/internal/virtio"
)

func testSpec(t *testing.T, s *suite) {
	dev := s.device()
	spec := dev.Spec()
	if spec.Type == 0 || len(spec.QueueSizes) == 0 {
		t.Errorf("spec %+v has no type or no queue", spec)
	}
	if spec.Features&virtio.RingFeatures != 0 {
		t.Errorf("spec offers ring features %#x, which are the transport's", spec.Features&virtio.RingFeatures)
	}
	if again := dev.Spec(); fmt.Sprint(again) != fmt.Sprint(spec) {
		t.Errorf("spec changes from %v to %v", spec, again)
	}
}

func testRegisters(t *testing.T, s *suite) {
	d := s.driver()
	for reg, want := range map[uint64]uint32{
		RegMagicValue: 0x74726976, RegVersion: 2, RegDeviceID: d.observer.Spec().Type,
		RegInterruptStatus: 0, RegStatus: 0,
	} {
		if got := d.Read(reg); got != want {
			t.Errorf("register %#x reads %#x, want %#x", reg, got, want)
		}
	}
	if got, want := d.Offered(), d.observer.Spec().Features|virtio.RingFeatures; got != want {
		t.Errorf("offered features %#x, want %#x", got, want)
	}
	d.Write(RegQueueSel, uint32(len(d.observer.Spec().QueueSizes)))
	if got := d.Read(RegQueueNumMax); got != 0 {
		t.Errorf("QueueNumMax behind the last queue is %d", got)
	}
}

func testNegotiation(t *testing.T, s *suite) {
	d := s.driver()
	offered := d.Offered()
	if d.Negotiate(offered &^ virtio.FeatureVersion1) {
		t.Error("a driver without VERSION_1 is accepted")
	}
	for bit := range 64 {
		if f := uint64(1) << bit; offered&f == 0 && d.Negotiate(offered|f) {
			t.Errorf("feature bit %d is accepted, not offered", bit)
		}
	}
	if !d.Negotiate(virtio.FeatureVersion1) {
		t.Error("VERSION_1 alone is refused")
	}
	// Every device feature alone: a device may depend on another one, but not so that it breaks.
	for bit := range 64 {
		if f := uint64(1) << bit; offered&f != 0 {
			d.Start(f)
			d.Reset()
		}
	}
	d.Start(offered)
	s.work(d)
}

// testConfigSpace reads everywhere, twice over different rubbish: what a device does not fill reads as zero, not as
// what was in the buffer.
func testConfigSpace(t *testing.T, s *suite) {
	d := s.driver()
	read := func(offset uint64, width int, fill byte) []byte {
		p := bytes.Repeat([]byte{fill}, width)
		// The device itself is asked: the transport clears what it passes.
		d.observer.ReadConfig(uint32(offset), p)
		return p
	}
	offsets := []uint64{4096, 1<<31 - 1, 1<<32 - 8}
	for offset := range uint64(512) {
		offsets = append(offsets, offset)
	}
	for _, offset := range offsets {
		for _, width := range []int{1, 2, 4, 8} {
			got := read(offset, width, 0x55)
			if again := read(offset, width, 0xaa); !bytes.Equal(got, again) {
				t.Fatalf("config %#x of %d bytes is left unfilled: % x, % x", offset, width, got, again)
			}
			if offset < 512 {
				if single := d.Config(offset, width); !bytes.Equal(got, single) {
					t.Fatalf("config %#x reads % x in one access, % x byte by byte", offset, got, single)
				}
			}
		}
	}
	if p := read(1<<32-8, 8, 0xaa); !bytes.Equal(p, make([]byte, 8)) {
		t.Errorf("config far behind the end reads % x", p)
	}
}

// testRandomRegisters writes rubbish to every register and to the configuration space, DRIVER_OK among it. The seeds
// are fixed.
func testRandomRegisters(t *testing.T, s *suite) {
	for seed := range uint64(20) {
		d := s.driver()
		if seed%2 == 0 {
			d.Start(d.Offered())
		}
		rng := rand.New(rand.NewPCG(seed, seed))
		for range 500 {
			reg, v := uint64(rng.IntN(0x100)), rng.Uint32()
			switch rng.IntN(8) {
			case 0:
				reg = RegStatus
				v &= 0xff
			case 1:
				reg = RegQueueReady
				v &= 1
			case 2:
				reg = RegQueueSel
				v &= 3
			case 3:
				d.WriteConfig(uint64(rng.IntN(256)), randomBytes(rng, 1<<rng.IntN(4)))
				continue
			case 4:
				d.slot.Write(uint64(rng.IntN(0x200)), randomBytes(rng, rng.IntN(9)))
				continue
			case 5:
				v &= 0xfff0 // an address in RAM, a size
			}
			d.Write(reg, v)
			d.Read(reg)
		}
		d.Reset()
		d.Start(d.Offered())
		s.work(d)
		d.Close()
	}
}

func randomBytes(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// testUnusedQueues starts the device with no queue ready, as a driver that uses only some of them does.
func testUnusedQueues(t *testing.T, s *suite) {
	d := s.driver()
	if !d.Negotiate(d.Offered()) {
		t.Fatal("offered features are refused")
	}
	d.SetDriverOK()
	for i := range d.observer.Spec().QueueSizes {
		d.Notify(i)
	}
	d.Pause()
	d.Resume()
	d.Reset()
	d.Start(d.Offered())
	s.work(d)
}
