package blk

import "bytes"

// fakeImage is a disk in memory; a test can make calls fail or wait.
type fakeImage struct {
	bytes    []byte
	readOnly bool
	cached   bool                    // TryReadAtv answers
	before   func(verb string) error // called first by every other transfer, nil for nothing
	calls    chan string             // gets every transfer's verb, nil for nobody listening
}

func (f *fakeImage) Name() string   { return "fake.img" }
func (f *fakeImage) Size() int64    { return int64(len(f.bytes)) }
func (f *fakeImage) ReadOnly() bool { return f.readOnly }

func (f *fakeImage) enter(verb string) error {
	if f.calls != nil {
		f.calls <- verb
	}
	if f.before != nil {
		return f.before(verb)
	}
	return nil
}

func (f *fakeImage) TryReadAtv(segs [][]byte, off int64) bool {
	if f.cached {
		f.fill(segs, off)
	}
	return f.cached
}

func (f *fakeImage) fill(segs [][]byte, off int64) {
	for _, seg := range segs {
		off += int64(copy(seg, f.bytes[off:]))
	}
}

func (f *fakeImage) ReadAtv(segs [][]byte, off int64) error {
	if err := f.enter("read"); err != nil {
		return err
	}
	f.fill(segs, off)
	return nil
}

func (f *fakeImage) WriteAtv(segs [][]byte, off int64) error {
	if err := f.enter("write"); err != nil {
		return err
	}
	copy(f.bytes[off:], bytes.Join(segs, nil))
	return nil
}

func (f *fakeImage) Flush() error { return f.enter("flush") }

func (f *fakeImage) Discard(off, n int64) error {
	if err := f.enter("discard"); err != nil {
		return err
	}
	clear(f.bytes[off : off+n])
	return nil
}

func (f *fakeImage) WriteZeroes(off, n int64, _ bool) error {
	if err := f.enter("zeroes"); err != nil {
		return err
	}
	clear(f.bytes[off : off+n])
	return nil
}
