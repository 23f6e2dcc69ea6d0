package virtiotest

import (
	"math/rand/v2"
	"testing"

	"clone/internal/virtio"
	"clone/internal/virtio/mmio"
)

// testRequests makes requests with each combination of the ring's features.
func testRequests(t *testing.T, s *suite) {
	d := s.driver()
	device := d.observer.Spec().Features
	for _, ring := range []uint64{0, virtio.FeatureIndirectDesc, virtio.FeatureEventIdx, virtio.RingFeatures} {
		d.Start(device | ring)
		for range 3 {
			s.work(d)
			s.collect(d, s.flood(d))
		}
		if s.Request == nil || ring&virtio.FeatureIndirectDesc == 0 {
			continue
		}
		bufs := s.Request(d)
		s.check(d, bufs, d.DoIndirect(s.Queue, bufs...))
	}
}

// testIndexWrap works over the end of the 16-bit ring indexes.
func testIndexWrap(t *testing.T, s *suite) {
	for _, ring := range []uint64{0, virtio.RingFeatures} {
		d := s.driver()
		d.Start(d.observer.Spec().Features | ring)
		d.AdvanceIndexes(s.device(), 65530)
		for range 20 {
			s.work(d)
		}
		s.collect(d, s.flood(d))
	}
}

func testResetInFlight(t *testing.T, s *suite) {
	d := s.driver()
	for range 10 {
		d.Start(d.Offered())
		s.flood(d)
		d.Reset()
	}
	d.Start(d.Offered())
	s.work(d)
	s.flood(d)
	d.Write(RegStatus, StatusFailed) // the driver gives up: the device lets go of its memory
	if d.observer.isRunning() {
		t.Error("device runs on after FAILED")
	}
	d.Reset()
	d.Start(d.Offered())
	s.work(d)
}

func testPauseInFlight(t *testing.T, s *suite) {
	d := s.driver()
	d.Start(d.Offered())
	for range 10 {
		sent := s.flood(d)
		d.Pause()
		d.Pause()
		if d.observer.isRunning() {
			t.Fatal("device runs after Pause")
		}
		d.Resume()
		d.Resume()
		s.collect(d, sent)
	}
	d.Pause()
	d.Resume()
	s.work(d)
}

func testMigrateInFlight(t *testing.T, s *suite) {
	d := s.driver()
	d.Start(d.Offered())
	for range 5 {
		sent := s.flood(d)
		d.Migrate(s.device())
		if d.observer.isRunning() {
			t.Fatal("device runs before Resume")
		}
		d.Resume()
		s.collect(d, sent)
		s.work(d)
	}
	d.Migrate(s.device()) // nothing in flight
	d.Resume()
	d.Reset()
	d.Start(d.Offered())
	s.work(d)
}

// testSaveInReset saves a device that no driver has met, and one in the middle of negotiation.
func testSaveInReset(t *testing.T, s *suite) {
	d := s.driver()
	d.Migrate(s.device())
	d.Resume()
	d.Setup(d.Offered())
	d.Migrate(s.device())
	d.Resume()
	d.Go()
	s.work(d)
}

// testDamagedState loads damaged states: each is refused or harmless, and the device still works after a reset.
func testDamagedState(t *testing.T, s *suite) {
	d := s.driver()
	d.Start(d.Offered())
	s.work(d)
	good := d.Save()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		bad := good
		bad.Device = append([]byte{}, good.Device...)
		switch {
		case i <= len(bad.Device) && i < 100:
			bad.Device = bad.Device[:i]
			if i == len(good.Device) {
				bad.Device = append(bad.Device, "trailing bytes"...)
			}
		case len(bad.Device) > 0:
			bad.Device[rng.IntN(len(bad.Device))] ^= byte(1 + rng.IntN(255))
		default:
			bad.Device = randomBytes(rng, i)
		}
		slot := mmio.New(d.mem, func() {})
		if err := slot.Plug(s.device()); err != nil {
			t.Fatal(err)
		}
		_ = slot.Load(bad) // refusing is right, and so is living with it
		if err := slot.Close(); err != nil {
			t.Error(err)
		}
	}
	d.Resume()
	s.work(d)
}
