package blk

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"clone/internal/disk"
	"clone/internal/eventfd"
	"clone/internal/virtio"
	"clone/internal/virtio/virtiotest"
)

// slowImage is a disk whose reads wait until the gate is closed; everything else is answered at once.
func slowImage(size int) (image *fakeImage, gate chan struct{}) {
	gate = make(chan struct{})
	return &fakeImage{
		bytes: pattern(size, 9),
		calls: make(chan string, 1024),
		before: func(verb string) error {
			if verb == "read" {
				<-gate
			}
			return nil
		},
	}, gate
}

// TestSlowRead: requests behind a slow read do not wait for it.
func TestSlowRead(t *testing.T) {
	image, gate := slowImage(8192)
	d := started(t, Config{Image: image})
	bufs, data, status := newRequest(d, typeIn, 0, nil, 512)
	slow := d.Submit(0, bufs...)
	for range 3 * maxInFlight {
		if _, status := do(t, d, typeOut, 1, make([]byte, 512), 0); status != statusOK {
			t.Fatalf("write beside a slow read: status %d", status)
		}
	}
	close(gate)
	if used := d.Wait(0); used.Head != slow || d.Bytes(status)[0] != statusOK || !bytes.Equal(d.Bytes(data), image.bytes[:512]) {
		t.Errorf("the slow read: %+v, status %d, or other data", used, d.Bytes(status)[0])
	}
}

// TestPauseWaitsForRequests: a pause finishes what was begun, leaves the rest in the ring, and the session goes on
// with another device over the same disk, losing nothing.
func TestPauseWaitsForRequests(t *testing.T) {
	const requests = 3 * maxInFlight
	image, gate := slowImage(requests * sectorSize)
	d := started(t, Config{Image: image})
	type sent struct {
		sector       int
		data, status virtiotest.Buffer
	}
	all := map[uint16]sent{}
	for i := range requests {
		bufs, data, status := newRequest(d, typeIn, uint64(i), nil, sectorSize)
		all[d.Submit(0, bufs...)] = sent{i, data, status}
	}
	for range maxInFlight {
		<-image.calls
	}
	if len(image.calls) > 0 {
		t.Errorf("more than %d requests in flight", maxInFlight)
	}
	if !d.Slot().Busy() {
		t.Error("it does not say that it is busy")
	}
	// The reads go on only when the pause has begun: it is up to it to wait for them.
	go func(worker *eventfd.Event) {
		for !worker.Interrupted() {
			runtime.Gosched()
		}
		close(gate)
	}(d.Slot().Kicks()[0])
	d.Migrate(New(Config{Image: image}))
	finished := map[uint16]bool{}
	for used, ok := d.Poll(0); ok; used, ok = d.Poll(0) {
		finished[used.Head] = true
	}
	// One more than was in flight had left the ring: it waited for its turn.
	if len(finished) != maxInFlight+1 {
		t.Errorf("%d requests finished by the pause, want %d", len(finished), maxInFlight+1)
	}
	if d.Slot().Busy() {
		t.Error("it is busy with nothing")
	}
	d.Resume()
	for len(finished) < requests {
		finished[d.Wait(0).Head] = true
	}
	for head, s := range all {
		want := image.bytes[s.sector*sectorSize:][:sectorSize]
		if !finished[head] || d.Bytes(s.status)[0] != statusOK || !bytes.Equal(d.Bytes(s.data), want) {
			t.Errorf("sector %d: finished %v, status %d, or other data", s.sector, finished[head], d.Bytes(s.status)[0])
		}
	}
}

// BenchmarkRead is what the choice of goroutines rests on: reads out of the host's cache should cost what a loop that
// answers one after the other costs (the baseline), and reads that wait should wait together.
func BenchmarkRead(b *testing.B) {
	const size = 4096
	raw, _ := rawImage(b, pattern(16<<20, 1), disk.Options{ReadOnly: true})
	waiting := &fakeImage{bytes: make([]byte, 1<<20), before: func(string) error {
		time.Sleep(time.Millisecond)
		return nil
	}}
	for _, c := range []struct {
		name string
		dev  func() virtio.Device
	}{
		{"cached", func() virtio.Device { return New(Config{Image: raw}) }},
		{"cached, baseline", func() virtio.Device { return inOrder{New(Config{Image: raw})} }},
		{"1ms", func() virtio.Device { return New(Config{Image: waiting}) }},
		{"1ms, baseline", func() virtio.Device { return inOrder{New(Config{Image: waiting})} }},
	} {
		for _, depth := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/depth %d", c.name, depth), func(b *testing.B) {
				d := virtiotest.NewDriver(b, c.dev())
				d.Start(d.Offered())
				free := make([][]virtiotest.Buffer, depth)
				for i := range free {
					free[i], _, _ = newRequest(d, typeIn, uint64(i)*8, nil, size)
				}
				busy := map[uint16][]virtiotest.Buffer{}
				b.SetBytes(size)
				for sent, done := 0, 0; done < b.N; {
					for ; len(free) > 0 && sent < b.N; sent++ {
						bufs := free[len(free)-1]
						free = free[:len(free)-1]
						busy[d.Submit(0, bufs...)] = bufs
					}
					used := d.Wait(0)
					free = append(free, busy[used.Head])
					done++
				}
			})
		}
	}
}

// inOrder is the simplest loop there could be.
type inOrder struct{ *Device }

func (d inOrder) HandleQueue(int) {
	err := d.session.Queues[0].Drain(func(c *virtio.Chain) uint32 {
		r, err := parse(c, d.geometry)
		if err == nil {
			r.status[0] = d.execute(&r)
		}
		return r.written
	})
	if err != nil {
		d.session.Fail(err)
	}
}
