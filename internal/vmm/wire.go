package vmm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"clone/internal/kvm"
)

// stateMagic opens a machine state file; its last byte is the version of the form.
const stateMagic = "CLONEST\x01"

const sumBytes = 8

var errDamagedState = errors.New("machine state is damaged")

// writer builds a state file: the magic, length-prefixed fields in a fixed order, and an xxHash64 of it all.
type writer struct{ b []byte }

func newWriter() *writer { return &writer{append([]byte(nil), stateMagic...)} }

func (w *writer) uint32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *writer) uint64(v uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) bytes(p []byte)  { w.uint32(uint32(len(p))); w.b = append(w.b, p...) }

func (w *writer) finish() []byte {
	return binary.LittleEndian.AppendUint64(w.b, xxhash.Sum64(w.b))
}

// reader takes a state file apart. After the first error everything reads as zero and err keeps it.
type reader struct {
	b   []byte
	err error
}

func newReader(b []byte) (*reader, error) {
	if len(b) < len(stateMagic)+sumBytes || string(b[:len(stateMagic)-1]) != stateMagic[:len(stateMagic)-1] {
		return nil, fmt.Errorf("%w: not a machine state file", errDamagedState)
	}
	if b[len(stateMagic)-1] != stateMagic[len(stateMagic)-1] {
		return nil, fmt.Errorf("machine state is of version %d; this clone reads version %d", b[len(stateMagic)-1], stateMagic[len(stateMagic)-1])
	}
	body := b[:len(b)-sumBytes]
	if xxhash.Sum64(body) != binary.LittleEndian.Uint64(b[len(body):]) {
		return nil, fmt.Errorf("%w: its checksum does not match", errDamagedState)
	}
	return &reader{b: body[len(stateMagic):]}, nil
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		if r.err == nil {
			r.err = fmt.Errorf("%w: it ends early", errDamagedState)
		}
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) uint32() uint32 {
	if p := r.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *reader) bytes() []byte { return r.take(int(r.uint32())) }

// count reads a number of items, each of at least size bytes, that must fit in what is left.
func (r *reader) count(size int) int {
	n := r.uint32()
	if r.err == nil && uint64(n)*uint64(size) > uint64(len(r.b)) {
		r.err = fmt.Errorf("%w: %d items announced", errDamagedState, n)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (w *writer) vcpu(s *vcpuState) {
	w.uint32(s.MPState)
	w.uint32(uint32(len(s.CPUID)))
	for _, e := range s.CPUID {
		for _, v := range []uint32{e.Function, e.Index, e.Flags, e.EAX, e.EBX, e.ECX, e.EDX} {
			w.uint32(v)
		}
	}
	w.uint32(uint32(len(s.MSRs)))
	for _, m := range s.MSRs {
		w.uint32(m.Index)
		w.uint64(m.Value)
	}
	for _, b := range s.blobs(extended{xcrs: true}) {
		w.bytes(*b.p)
	}
}

func (r *reader) vcpu() *vcpuState {
	s := &vcpuState{MPState: r.uint32()}
	s.CPUID = make([]kvm.CPUIDEntry, r.count(28))
	for i := range s.CPUID {
		e := &s.CPUID[i]
		for _, v := range []*uint32{&e.Function, &e.Index, &e.Flags, &e.EAX, &e.EBX, &e.ECX, &e.EDX} {
			*v = r.uint32()
		}
	}
	s.MSRs = make([]kvm.MSR, r.count(12))
	for i := range s.MSRs {
		s.MSRs[i].Index, s.MSRs[i].Value = r.uint32(), r.uint64()
	}
	for _, b := range s.blobs(extended{xcrs: true}) {
		*b.p = r.bytes()
	}
	return s
}
