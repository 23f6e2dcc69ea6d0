package fork_test

import (
	"testing"
	"time"
)

// A guest as writer is, which stores 1 in all of its pages in order, then 0 in all of them, then 1 again.
var flipper = []byte{
	0x31, 0xdb, // xor ebx, ebx
	0x83, 0xf3, 0x01, // 1: xor ebx, 1
	0xbf, 0x00, 0x00, 0x40, 0x00, // mov edi, firstPage
	0xb9, 0xd0, 0x07, 0x00, 0x00, // mov ecx, writePages
	0x89, 0x1f, // 2: mov [edi], ebx
	0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, // add edi, 4096
	0x49,       // dec ecx
	0x75, 0xf5, // jnz 2b
	0xeb, 0xe6, // jmp 1b
}

// TestGiveBackLosesNothing takes pages from a fork that writes as fast as it can, each of them every second time what its
// template has. It fails when the guest runs on meanwhile.
func TestGiveBackLosesNothing(t *testing.T) {
	s := newStore(t)
	m := bootCode(t, flipper)
	for end := time.Now().Add(20 * time.Second); word(t, m, writePages-1) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the guest does not write")
		}
	}
	store(t, s, m, "base", nil, nil)
	src, f := restore(t, s, "base")
	must(t, f.Resume())
	given, compared := uint64(0), f.Memory().Compare(src.Base().Image())
	for range 200 {
		n, err := f.GiveBack(t.Context(), compared)
		must(t, err)
		given += n
		must(t, f.Pause())
		changes := 0
		for page := 1; page < writePages; page++ {
			if word(t, f, page) != word(t, f, page-1) {
				changes++
			}
		}
		if changes > 1 {
			t.Fatalf("its pages change value %d times: no instant is like this", changes)
		}
		must(t, f.Resume())
	}
	if given == 0 {
		t.Error("no page was given back")
	}
	t.Logf("%d pages given back", given)
}
