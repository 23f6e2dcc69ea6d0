package mmio_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"clone/internal/virtio"
	"clone/internal/virtio/mmio"
	"clone/internal/virtio/virtiotest"
)

// savedEcho is the state of an Echo in use, with every field other than zero.
func savedEcho(t *testing.T) (*virtiotest.Driver, mmio.State) {
	t.Helper()
	dev := newScripted()
	d := virtiotest.NewDriver(t, dev)
	d.Start(d.Offered())
	echo(t, d)
	d.WriteConfig(0, []byte{1, 2, 3, 4})
	d.Write(virtiotest.RegDeviceFeaturesSel, 7)
	d.Write(virtiotest.RegDriverFeaturesSel, 8)
	d.Write(virtiotest.RegQueueSel, 9)
	d.Pause()
	dev.session.Load().ConfigChanged()
	st, err := d.Slot().Save()
	if err != nil {
		t.Fatal(err)
	}
	return d, st
}

func TestStateRoundTrip(t *testing.T) {
	d, st := savedEcho(t)
	slot := mmio.New(d.Memory(), func() {})
	defer slot.Close()
	if err := slot.Plug(virtiotest.NewEcho()); err != nil {
		t.Fatal(err)
	}
	if err := slot.Load(st); err != nil {
		t.Fatal(err)
	}
	back, err := slot.Save()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(st)
	if got, _ := json.Marshal(back); !bytes.Equal(got, want) {
		t.Errorf("state comes back as\n%s, was\n%s", got, want)
	}
	if st.Status != 15 || st.InterruptStatus != 2 || st.ConfigGeneration != 1 || st.DeviceFeaturesSel != 7 ||
		st.DriverFeaturesSel != 8 || st.QueueSel != 9 || st.Queues[0].NextAvail != 1 || st.Queues[0].NextUsed != 1 {
		t.Errorf("state is %s", want)
	}
	if err := slot.Load(st); err == nil {
		t.Error("loaded twice")
	}
}

func TestSaveRefuses(t *testing.T) {
	dev := newScripted()
	d := virtiotest.NewDriver(t, dev)
	if _, err := d.Slot().Save(); err == nil {
		t.Error("saved without a pause")
	}
	dev.save = func() ([]byte, error) { return nil, errScripted }
	d.Pause()
	if _, err := d.Slot().Save(); !errors.Is(err, errScripted) {
		t.Errorf("save: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	d, good := savedEcho(t)
	for _, c := range []struct {
		name   string
		damage func(*mmio.State)
	}{
		{"another type", func(s *mmio.State) { s.Type = 1 }},
		{"unknown status", func(s *mmio.State) { s.Status |= 16 }},
		{"wide status", func(s *mmio.State) { s.Status |= 1 << 20 }},
		{"DRIVER_OK alone", func(s *mmio.State) { s.Status = 4 }},
		{"feature not offered", func(s *mmio.State) { s.DriverFeatures |= 1 << 50 }},
		{"no VERSION_1", func(s *mmio.State) { s.DriverFeatures = 1 }},
		{"unknown interrupt", func(s *mmio.State) { s.InterruptStatus = 4 }},
		{"no queues", func(s *mmio.State) { s.Queues = nil }},
		{"a queue too few", func(s *mmio.State) { s.Queues = s.Queues[:1] }},
		{"a queue too many", func(s *mmio.State) { s.Queues = append(s.Queues, virtio.QueueState{}) }},
		{"queue above the maximum", func(s *mmio.State) { s.Queues[1].Size = 16 }},
		{"queue size no power of two", func(s *mmio.State) { s.Queues[0].Size = 12 }},
		{"ready queue of size 0", func(s *mmio.State) { s.Queues[0].Size = 0 }},
		{"rings misaligned", func(s *mmio.State) { s.Queues[0].Desc++ }},
		{"rings outside RAM", func(s *mmio.State) { s.Queues[0].Used = 1 << 40 }},
		{"no device state", func(s *mmio.State) { s.Device = nil }},
		{"device state too long", func(s *mmio.State) { s.Device = make([]byte, 9) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := good
			bad.Queues = append([]virtio.QueueState{}, good.Queues...)
			c.damage(&bad)
			slot := mmio.New(d.Memory(), func() { t.Error("interrupt") })
			defer slot.Close()
			if err := slot.Plug(virtiotest.NewEcho()); err != nil {
				t.Fatal(err)
			}
			if err := slot.Load(bad); err == nil {
				t.Fatal("loaded")
			}
			if read(slot, 0x70) != 0 || read(slot, 0x60) != 0 || read(slot, 0x34) != 16 {
				t.Error("a state that was refused left something behind")
			}
			if err := slot.Load(good); err != nil {
				t.Errorf("the good state after the bad one: %v", err)
			}
		})
	}
}

// TestLoadNotFresh: a slot that a driver has used is no place for another's session.
func TestLoadNotFresh(t *testing.T) {
	_, st := savedEcho(t)
	s := newSlot(t, virtiotest.NewEcho())
	write(s, 0x70, 1)
	if err := s.Load(st); err == nil {
		t.Error("loaded into a slot in use")
	}
}

// TestEmptyAndFilled is what a fork does: the template's slot was empty, the fork's has a device, or the other way.
func TestEmptyAndFilled(t *testing.T) {
	empty := newSlot(t, nil)
	empty.Pause()
	st, err := empty.Save()
	if err != nil || st.Type != 0 {
		t.Fatalf("state of an empty slot: %+v, %v", st, err)
	}
	for _, plugFirst := range []bool{true, false} {
		s := newSlot(t, nil)
		plug := func() {
			if err := s.Plug(virtiotest.NewEcho()); err != nil {
				t.Fatal(err)
			}
		}
		if plugFirst {
			plug()
		}
		if err := s.Load(st); err != nil {
			t.Fatal(err)
		}
		if !plugFirst {
			plug()
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		if got := read(s, 0x08); got != virtiotest.EchoType {
			t.Errorf("device ID %#x", got)
		}
	}
	_, full := savedEcho(t)
	if err := newSlot(t, nil).Load(full); err == nil {
		t.Error("a device's state is loaded into an empty slot")
	}
}

// FuzzLoad loads arbitrary JSON: it is refused, or the slot can be resumed and reset.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"type":16383,"status":15,"driver_features":4294967296,"queues":[{"size":16,"ready":true,"desc":4096,` +
		`"avail":8192,"used":12288,"next_avail":3,"next_used":3},{}],"device":"AAAAAAAAAAA="}`))
	f.Add([]byte(`{"type":16383,"status":79,"driver_features":4294967296,"queues":[{},{}],"device":"AAAAAAAAAAA="}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var st mmio.State
		if json.Unmarshal(text, &st) != nil {
			return
		}
		s := newSlot(t, virtiotest.NewEcho())
		if s.Load(st) != nil {
			return
		}
		if err := s.Resume(); err != nil {
			t.Fatalf("a state that was loaded does not resume: %v", err)
		}
		write(s, 0x70, 0)
		if got := read(s, 0x70); got != 0 {
			t.Fatalf("status %#x after reset", got)
		}
	})
}
