package virtio

// Segments is a byte sequence scattered over guest memory: the readable or the writable part of a chain.
type Segments [][]byte

// Len is the number of bytes.
func (s Segments) Len() int {
	n := 0
	for _, seg := range s {
		n += len(seg)
	}
	return n
}

// CopyTo copies the bytes at offset into p and returns how many there were.
func (s Segments) CopyTo(p []byte, offset int) int {
	n := 0
	s.each(offset, len(p), func(part []byte) { n += copy(p[n:], part) })
	return n
}

// CopyFrom copies p over the bytes at offset and returns how many fitted.
func (s Segments) CopyFrom(p []byte, offset int) int {
	n := 0
	s.each(offset, len(p), func(part []byte) { n += copy(part, p[n:]) })
	return n
}

// Slice returns the n bytes at offset, fewer when the sequence ends before; nothing is copied.
func (s Segments) Slice(offset, n int) Segments {
	var out Segments
	s.each(offset, n, func(part []byte) { out = append(out, part) })
	return out
}

// each calls f with the parts of [offset, offset+n).
func (s Segments) each(offset, n int, f func(part []byte)) {
	for _, seg := range s {
		if n <= 0 {
			return
		}
		if offset >= len(seg) {
			offset -= len(seg)
			continue
		}
		part := seg[offset:]
		part = part[:min(n, len(part))]
		offset = 0
		n -= len(part)
		f(part)
	}
}
