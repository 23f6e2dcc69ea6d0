package virtio

import (
	"bytes"
	"testing"
)

func TestSegments(t *testing.T) {
	fresh := func() Segments {
		return Segments{[]byte("ab"), nil, []byte("c"), []byte("defg")}
	}
	whole := "abcdefg"
	if n := fresh().Len(); n != len(whole) {
		t.Errorf("length %d", n)
	}
	for offset := range len(whole) + 3 {
		for n := range len(whole) + 3 {
			want := ""
			if offset < len(whole) {
				want = whole[offset:min(offset+n, len(whole))]
			}
			p := make([]byte, n)
			if got := fresh().CopyTo(p, offset); got != len(want) || string(p[:got]) != want {
				t.Errorf("CopyTo(%d bytes, %d): %q, want %q", n, offset, p[:got], want)
			}
			part := fresh().Slice(offset, n)
			if got := string(bytes.Join(part, nil)); got != want {
				t.Errorf("Slice(%d, %d): %q, want %q", offset, n, got, want)
			}
			s := fresh()
			got := s.CopyFrom(bytes.Repeat([]byte{'.'}, n), offset)
			changed := []byte(whole)
			copy(changed[min(offset, len(changed)):], bytes.Repeat([]byte{'.'}, len(want)))
			if all := bytes.Join(s, nil); got != len(want) || !bytes.Equal(all, changed) {
				t.Errorf("CopyFrom(%d bytes, %d): %d, %q", n, offset, got, all)
			}
		}
	}
}

// TestSliceIsTheSameMemory checks that a slice is a window, which cannot grow over what follows.
func TestSliceIsTheSameMemory(t *testing.T) {
	s := Segments{[]byte("abc"), []byte("def")}
	part := s.Slice(1, 3)
	part.CopyFrom([]byte("123"), 0)
	if got := string(bytes.Join(s, nil)); got != "a123ef" {
		t.Errorf("%q", got)
	}
}
