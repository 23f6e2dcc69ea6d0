package guestmem

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Word16 is a 16-bit little-endian word of guest memory that both sides change, such as a ring index.
// sync/atomic has no 16-bit operations; on amd64 an aligned 16-bit access is atomic, loads have acquire and stores
// have release order, so plain accesses that the compiler can neither split nor move are enough.
type Word16 struct{ p *uint16 }

// Word16 returns the word at gpa, which must be even.
func (m *Memory) Word16(gpa uint64) (Word16, error) {
	b, err := m.Bytes(gpa, 2)
	if err != nil {
		return Word16{}, err
	}
	if gpa%2 != 0 {
		return Word16{}, fmt.Errorf("ring word at odd address %#x", gpa)
	}
	return Word16{(*uint16)(unsafe.Pointer(&b[0]))}, nil
}

// Load reads the word; no later access moves before it.
//
//go:noinline
func (w Word16) Load() uint16 { return *w.p }

// Store writes the word; no earlier access moves after it.
//
//go:noinline
func (w Word16) Store(v uint16) { *w.p = v }

var fence atomic.Uint32

// Fence orders every earlier store before every later load: the one order amd64 does not give by itself, needed
// between publishing an index and reading the other side's notification wish (virtio 1.2 §2.7.7).
func Fence() { fence.Add(1) }

// address is where mapped memory lies in this process.
func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
