package virtiotest

import (
	"encoding/binary"
	"runtime/debug"
	"testing"
	"time"

	"clone/internal/guestmem"
	"clone/internal/virtio"
)

// fuzzRAM is small, so that addresses out of random bytes often hit it.
const fuzzRAM = 1 << 20

// Operations of a fuzz program, each with its operands in the bytes that follow.
const (
	opRegister = iota // register/4, value (4 bytes)
	opConfig          // offset, log2 of width, value (8 bytes)
	opMemory          // queue, area, offset (2 bytes), count, the bytes
	opDesc            // queue, entry, a descriptor (16 bytes)
	opOffer           // queue, head (2 bytes), advance; notifies
	opNotify          // queue
	opPause           //
	opMigrate         //
	opReset           // ring features
	ops
)

// Fuzz lets a hostile driver loose on a device: the input is a program of register writes, writes to rings,
// descriptors and buffers, and notifications, with pauses and restores between. Nothing may panic, hang or leave a
// device that a reset does not bring back.
func Fuzz(f *testing.F, newDevice func() virtio.Device) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		watchdog := time.AfterFunc(Patience, func() {
			debug.SetTraceback("all")
			panic("virtiotest: the device hangs")
		})
		defer watchdog.Stop()
		mem, err := guestmem.NewAnonymous(fuzzRAM)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = mem.Close() })
		d := NewDriverOver(t, mem, owned(t, newDevice()))
		d.Start(d.Offered())
		p := &fuzzProgram{t: t, d: d, code: program, newDevice: newDevice}
		for p.step() {
		}
		d.Reset()
		d.Start(d.Offered())
	})
}

// fuzzProgram interprets the input. The rings of the driver stay where they are, whatever the device is told of them.
type fuzzProgram struct {
	t         *testing.T
	d         *Driver
	code      []byte
	newDevice func() virtio.Device
	migrated  int
}

// take returns the next n bytes, zeros where the input ends.
func (p *fuzzProgram) take(n int) []byte {
	b := make([]byte, n)
	p.code = p.code[copy(b, p.code):]
	return b
}

func (p *fuzzProgram) queue() int { return int(p.take(1)[0]) % len(p.d.rings) }

func (p *fuzzProgram) step() (more bool) {
	if len(p.code) == 0 {
		return false
	}
	d := p.d
	switch p.take(1)[0] % ops {
	case opRegister:
		reg := 4 * uint64(p.take(1)[0]%64)
		d.Write(reg, binary.LittleEndian.Uint32(p.take(4)))
		d.Read(reg)
	case opConfig:
		offset, width := uint64(p.take(1)[0]), 1<<(p.take(1)[0]%4)
		d.WriteConfig(offset, p.take(8)[:width])
		d.Config(offset, width)
	case opMemory:
		p.writeMemory()
	case opDesc:
		r := d.rings[p.queue()]
		d.poke(r.desc+16*uint64(uint16(p.take(1)[0])%r.size), p.take(16))
	case opOffer:
		q := p.queue()
		head := binary.LittleEndian.Uint16(p.take(2))
		d.Offer(q, head, uint16(p.take(1)[0]))
		p.notify(q)
	case opNotify:
		p.notify(p.queue())
	case opPause:
		d.Pause()
		d.Resume()
	case opMigrate:
		if p.migrated++; p.migrated < 4 {
			d.Migrate(owned(p.t, p.newDevice()))
			d.Resume()
		}
	case opReset:
		features := d.observer.Spec().Features | uint64(p.take(1)[0]&3)<<28
		d.Reset()
		d.Start(features)
	}
	return true
}

// writeMemory writes a few bytes into one of the areas that the device looks at.
func (p *fuzzProgram) writeMemory() {
	r := p.d.rings[p.queue()]
	area := []uint64{r.desc, r.avail, r.used, p.d.next.Load()}[p.take(1)[0]%4]
	offset := uint64(binary.LittleEndian.Uint16(p.take(2)))
	p.d.poke(area+offset, p.take(int(p.take(1)[0])))
}

// notify returns when the device has looked at the queue.
func (p *fuzzProgram) notify(queue int) {
	d := p.d
	d.observer.settle(queue, func() bool {
		return d.Status()&(StatusDriverOK|StatusNeedsReset|StatusFailed) == StatusDriverOK
	}, func() { d.Notify(queue) })
}

// fuzzSeeds are programs that get far into a device: chains of every shape on each of the first queues.
func fuzzSeeds() [][]byte {
	const buffers = 0x80000
	desc := func(p []byte, queue, entry byte, b Buffer, flags, next uint16) []byte {
		return append(append(p, opDesc, queue, entry), appendDesc(nil, b, flags, next)...)
	}
	var seeds [][]byte
	for queue := range byte(3) {
		for _, size := range []uint32{0, 1, 8, 16, 44, 512, 4096, 1 << 19} {
			p := desc(nil, queue, 0, Buffer{GPA: buffers, Len: 16}, DescNext, 1)
			p = desc(p, queue, 1, Buffer{GPA: buffers + 16, Len: size}, DescNext|DescWrite, 2)
			p = desc(p, queue, 2, Buffer{GPA: buffers + 8192, Len: 1}, DescWrite, 0)
			p = append(p, opOffer, queue, 0, 0, 1) // readable and writable
			p = append(p, opOffer, queue, 1, 0, 1) // writable only
			p = append(p, opPause, opMigrate)
			p = desc(p, queue, 3, Buffer{GPA: buffers, Len: size}, 0, 0)
			p = append(p, opOffer, queue, 3, 0, 1) // readable only
			p = append(p, opReset, byte(size)&3, opNotify, queue)
			seeds = append(seeds, p)
		}
		p := desc(nil, queue, 0, Buffer{GPA: buffers, Len: 64}, DescNext, 0) // loop
		seeds = append(seeds, append(p, opOffer, queue, 0, 0, 1))
		p = desc(nil, queue, 0, Buffer{GPA: 1 << 16, Len: 4096}, DescWrite, 0) // the rings as a buffer
		seeds = append(seeds, append(p, opOffer, queue, 0, 0, 1, opNotify, queue))
		seeds = append(seeds, []byte{opRegister, RegStatus / 4, 0, 0, 0, 0, opConfig, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8,
			opRegister, RegStatus / 4, 15, 0, 0, 0, opOffer, queue, 0, 0, 200})
	}
	return seeds
}
