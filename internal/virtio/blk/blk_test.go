package blk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"clone/internal/disk"
	"clone/internal/virtio"
	"clone/internal/virtio/virtiotest"
)

// started returns a driver of a running device over the image.
func started(t testing.TB, c Config) *virtiotest.Driver {
	t.Helper()
	d := virtiotest.NewDriver(t, New(c))
	d.Start(d.Offered())
	return d
}

// rawImage makes a disk in a file, with the content.
func rawImage(t testing.TB, content []byte, opts disk.Options) (img disk.Image, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	img, err := disk.OpenRaw(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	return img, path
}

// do makes one request with out behind the header and n bytes for the device to write, and returns those and the
// status. The status is a byte that means nothing until the device writes it.
func do(t testing.TB, d *virtiotest.Driver, kind uint32, sector uint64, out []byte, n int) (in []byte, status byte) {
	t.Helper()
	bufs, data, st := newRequest(d, kind, sector, out, n)
	if written := d.Do(0, bufs...); written != uint32(n+1) {
		t.Errorf("request %d: used length %d, want %d", kind, written, n+1)
	}
	return d.Bytes(data), d.Bytes(st)[0]
}

func newRequest(d *virtiotest.Driver, kind uint32, sector uint64, out []byte, n int) (bufs []virtiotest.Buffer, data, status virtiotest.Buffer) {
	bufs = append(bufs, d.Out(header(kind, sector)))
	if len(out) > 0 {
		bufs = append(bufs, d.Out(out))
	}
	data, status = d.In(n), d.In(1)
	if err := d.Memory().WriteAt([]byte{0xff}, status.GPA); err != nil {
		panic(err)
	}
	if n > 0 {
		bufs = append(bufs, data)
	}
	return append(bufs, status), data, status
}

func pattern(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestConformance(t *testing.T) {
	content := pattern(1<<20, 1)
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	img, err := disk.OpenRaw(path, disk.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	for name, image := range map[string]Image{
		"raw":     img,                                        // answered at once out of the host's cache
		"waiting": &fakeImage{bytes: content, readOnly: true}, // answered by goroutines
	} {
		t.Run(name, func(t *testing.T) {
			sector := uint64(0)
			virtiotest.Conformance(t, func() virtio.Device { return New(Config{Image: image, Serial: "conformance"}) }, virtiotest.Options{
				Request: func(d *virtiotest.Driver) []virtiotest.Buffer {
					sector = (sector + 13) % 2000
					return []virtiotest.Buffer{d.Out(header(typeIn, sector)), d.In(1024), d.In(512), d.In(1)}
				},
				Check: func(t testing.TB, d *virtiotest.Driver, bufs []virtiotest.Buffer, written uint32) {
					at := binary.LittleEndian.Uint64(d.Bytes(bufs[0])[8:]) * sectorSize
					if written != 1537 || d.Bytes(bufs[3])[0] != statusOK || !bytes.Equal(d.Bytes(bufs[1:3]...), content[at:at+1536]) {
						t.Errorf("sector %d: used length %d, status %d, or other data than the disk's", at/sectorSize, written, d.Bytes(bufs[3])[0])
					}
				},
			})
		})
	}
}

func FuzzDevice(f *testing.F) {
	virtiotest.Fuzz(f, func() virtio.Device { return New(Config{Image: &fakeImage{bytes: make([]byte, 64<<10)}}) })
}

func TestConfigSpace(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		d := started(t, Config{Image: &fakeImage{bytes: make([]byte, 1<<20), readOnly: readOnly}})
		le := binary.LittleEndian
		c := d.Config(0, 64)
		if le.Uint64(c) != 2048 || le.Uint32(c[8:]) != 1<<20 || le.Uint32(c[12:]) != 254 || le.Uint32(c[20:]) != 512 {
			t.Errorf("capacity %d, size_max %d, seg_max %d, blk_size %d", le.Uint64(c), le.Uint32(c[8:]), le.Uint32(c[12:]), le.Uint32(c[20:]))
		}
		discard := []uint32{le.Uint32(c[36:]), le.Uint32(c[40:]), le.Uint32(c[48:]), le.Uint32(c[52:])}
		for _, v := range discard {
			if (v == 0) != readOnly {
				t.Errorf("read-only %v: discard and write zeroes limits %v", readOnly, discard)
			}
		}
		has := func(bit int) bool { return d.Offered()>>bit&1 == 1 }
		if has(5) != readOnly || has(13) == readOnly || has(14) == readOnly || !has(9) || has(12) || has(11) {
			t.Errorf("read-only %v: features %#x", readOnly, d.Offered())
		}
		d.WriteConfig(0, []byte{1, 2, 3, 4, 5, 6, 7, 8})
		d.WriteConfig(32, []byte{1})
		if !bytes.Equal(d.Config(0, 64), c) {
			t.Error("the driver changed the configuration space")
		}
	}
}

func TestSerial(t *testing.T) {
	for serial, want := range map[string]string{
		"":                               "",
		"clone-root":                     "clone-root",
		"twenty bytes exactly":           "twenty bytes exactly",
		"one that is longer than twenty": "one that is longer t",
	} {
		d := started(t, Config{Image: &fakeImage{bytes: make([]byte, 512)}, Serial: serial})
		got, status := do(t, d, typeGetID, 0, nil, 20)
		if status != statusOK || string(bytes.TrimRight(got, "\x00")) != want {
			t.Errorf("serial %q reads %q, status %d", serial, got, status)
		}
	}
}

// TestModel makes many random requests on a file and on a slice of bytes, and compares.
func TestModel(t *testing.T) {
	const sectors = 512
	model := pattern(sectors*sectorSize, 2)
	img, path := rawImage(t, model, disk.Options{})
	d := started(t, Config{Image: img})
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 2000 {
		sector := uint64(rng.IntN(sectors + 1))
		count := rng.IntN(40)
		fits := sector+uint64(count) <= sectors
		at, n := int(sector)*sectorSize, count*sectorSize
		want := byte(statusOK)
		if !fits {
			want = statusIOErr
		}
		var status byte
		var kind uint32
		switch rng.IntN(5) {
		case 0:
			var got []byte
			kind = typeIn
			got, status = do(t, d, kind, sector, nil, n)
			if fits && !bytes.Equal(got, model[at:at+n]) {
				t.Fatalf("request %d: %d sectors at %d read differently", i, count, sector)
			}
		case 1, 2:
			data := pattern(n, uint64(i))
			kind = typeOut
			_, status = do(t, d, kind, sector, data, 0)
			if fits {
				copy(model[at:], data)
			}
		case 3:
			kind = typeWriteZeroes
			_, status = do(t, d, kind, 0, wireRange(sector, uint32(count), uint32(rng.IntN(2))), 0)
			if fits {
				clear(model[at : at+n])
			}
		case 4:
			kind, want = typeFlush, statusOK
			_, status = do(t, d, kind, 0, nil, 0)
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, model) {
				t.Fatalf("request %d: the file is not what was written (%v)", i, err)
			}
		}
		if status != want {
			t.Fatalf("request %d: type %d, %d sectors at %d: status %d, want %d", i, kind, count, sector, status, want)
		}
		if i%100 == 99 { // addresses of RAM are used once each: begin again
			d.Reset()
			d.Start(d.Offered())
		}
	}
}

func TestReadOnlyDisk(t *testing.T) {
	content := pattern(8192, 5)
	img, path := rawImage(t, content, disk.Options{ReadOnly: true})
	d := started(t, Config{Image: img, OnError: func(err error) { t.Errorf("the guest's mistake was told to the user: %v", err) }})
	for kind, out := range map[uint32][]byte{
		typeOut: make([]byte, 512), typeDiscard: wireRange(0, 8, 0), typeWriteZeroes: wireRange(0, 8, 0),
	} {
		if _, status := do(t, d, kind, 0, out, 0); status != statusIOErr {
			t.Errorf("request %d: status %d", kind, status)
		}
	}
	if _, status := do(t, d, typeFlush, 0, nil, 0); status != statusOK {
		t.Errorf("flush: status %d", status)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, content) {
		t.Error("the disk changed")
	}
}

func TestDiscardFreesBlocks(t *testing.T) {
	const size = 1 << 20
	img, path := rawImage(t, pattern(size, 6), disk.Options{})
	if err := img.Flush(); err != nil {
		t.Fatal(err)
	}
	blocks := func() int64 {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks
	}
	before := blocks()
	d := started(t, Config{Image: img})
	half := uint32(size / 2 / sectorSize)
	if _, status := do(t, d, typeDiscard, 0, cat(wireRange(0, half/2, 0), wireRange(uint64(half), half/2, 0)), 0); status != statusOK {
		t.Fatalf("status %d", status)
	}
	if freed := before - blocks(); freed < int64(half) {
		t.Errorf("%d blocks freed, want %d", freed, half)
	}
	if got, status := do(t, d, typeIn, uint64(half/2), nil, 512); status != statusOK || bytes.Equal(got, make([]byte, 512)) {
		t.Errorf("what is beside the discarded range reads as zeroes, status %d", status)
	}
}

func TestTruncatedImage(t *testing.T) {
	img, path := rawImage(t, pattern(8192, 7), disk.Options{})
	var told []error
	d := started(t, Config{Image: img, OnError: func(err error) { told = append(told, err) }})
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, status := do(t, d, typeIn, 8, nil, 4096); status != statusIOErr {
			t.Errorf("read beyond the new end: status %d", status)
		}
	}
	if _, status := do(t, d, typeIn, 0, nil, 4096); status != statusOK {
		t.Errorf("read of what is there: status %d", status)
	}
	if len(told) != 1 || !strings.Contains(told[0].Error(), path) {
		t.Errorf("the user was told %v, want one error that names %s", told, path)
	}
}

func TestHostErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status byte
		told   int
	}{
		{syscall.ENOSPC, statusIOErr, 1},
		{syscall.EIO, statusIOErr, 1},
		{errors.ErrUnsupported, statusUnsupp, 0},
	} {
		told := 0
		image := &fakeImage{bytes: make([]byte, 8192), before: func(string) error { return c.err }}
		d := started(t, Config{Image: image, OnError: func(err error) {
			if told++; !errors.Is(err, c.err) {
				t.Errorf("told %v, want %v", err, c.err)
			}
		}})
		for _, r := range []struct {
			kind uint32
			out  []byte
			in   int
		}{
			{typeIn, nil, 512}, {typeOut, make([]byte, 512), 0}, {typeFlush, nil, 0},
			{typeDiscard, wireRange(0, 8, 0), 0}, {typeWriteZeroes, wireRange(0, 8, 0), 0},
		} {
			if _, status := do(t, d, r.kind, 0, r.out, r.in); status != c.status {
				t.Errorf("%v, request %d: status %d, want %d", c.err, r.kind, status, c.status)
			}
		}
		if told != c.told {
			t.Errorf("%v: the user was told %d times, want %d", c.err, told, c.told)
		}
	}
}

// TestWriteThrough: a driver that cannot flush finds every write durable when it completes.
func TestWriteThrough(t *testing.T) {
	for _, flush := range []bool{false, true} {
		image := &fakeImage{bytes: make([]byte, 8192), calls: make(chan string, 16)}
		d := virtiotest.NewDriver(t, New(Config{Image: image}))
		features := d.Offered()
		want := "write zeroes"
		if !flush {
			features &^= featureFlush
			want = "write flush zeroes flush"
		}
		d.Start(features)
		do(t, d, typeOut, 0, make([]byte, 512), 0)
		do(t, d, typeWriteZeroes, 0, wireRange(0, 1, 0), 0)
		close(image.calls)
		var got []string
		for call := range image.calls {
			got = append(got, call)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("flush negotiated %v: %q, want %q", flush, got, want)
		}
	}
}

func TestNoRoomForStatus(t *testing.T) {
	d := started(t, Config{Image: &fakeImage{bytes: make([]byte, 8192)}})
	if written := d.Do(0, d.Out(header(typeFlush, 0))); written != 0 {
		t.Errorf("used length %d", written)
	}
	d.WaitNeedsReset()
	d.Reset()
	d.Start(d.Offered())
	if _, status := do(t, d, typeFlush, 0, nil, 0); status != statusOK {
		t.Errorf("after the reset: status %d", status)
	}
}
