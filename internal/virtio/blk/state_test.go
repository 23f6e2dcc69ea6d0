package blk

import (
	"bytes"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	saved, err := New(Config{Image: &fakeImage{bytes: make([]byte, 8192)}}).Save()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		image fakeImage
		state string
		want  string // part of the error, "" for none
	}{
		{"same", fakeImage{bytes: make([]byte, 8192)}, string(saved), ""},
		{"grown", fakeImage{bytes: make([]byte, 16384)}, string(saved), "fake.img changed size since the snapshot, from 8192 to 16384 bytes"},
		{"read-only now", fakeImage{bytes: make([]byte, 8192), readOnly: true}, string(saved), "is read-only now and was writable"},
		{"nothing", fakeImage{bytes: make([]byte, 8192)}, "", "damaged state"},
		{"cut", fakeImage{bytes: make([]byte, 8192)}, string(saved[:len(saved)-1]), "damaged state"},
		{"more", fakeImage{bytes: make([]byte, 8192)}, string(saved) + "{}", "damaged state"},
		{"unknown field", fakeImage{bytes: make([]byte, 8192)}, `{"size":8192,"read_only":false,"x":1}`, "damaged state"},
		{"wrong type", fakeImage{bytes: make([]byte, 8192)}, `{"size":"8192"}`, "damaged state"},
		{"null", fakeImage{bytes: make([]byte, 8192)}, `null`, "changed size"},
	} {
		err := New(Config{Image: &c.image}).Load([]byte(c.state))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	saved, _ := New(Config{Image: &fakeImage{bytes: make([]byte, 8192)}}).Save()
	f.Add(saved)
	f.Add([]byte(`{"size":-1}`))
	f.Fuzz(func(t *testing.T, state []byte) {
		d := New(Config{Image: &fakeImage{bytes: make([]byte, 8192)}})
		if d.Load(state) != nil {
			return
		}
		if again, err := d.Save(); err != nil || !bytes.Equal(again, saved) {
			t.Errorf("%q was taken, which is not this disk's state", state)
		}
	})
}
