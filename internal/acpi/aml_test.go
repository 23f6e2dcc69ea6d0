package acpi

import (
	"bytes"
	"testing"
)

func TestAML(t *testing.T) {
	long := func(n int) []byte { return make([]byte, n) }
	for _, tc := range []struct {
		name string
		got  aml
		want []byte
	}{
		{"zero", integer(0), []byte{0}},
		{"one", integer(1), []byte{1}},
		{"byte", integer(0xff), []byte{0x0a, 0xff}},
		{"word", integer(0x100), []byte{0x0b, 0, 1}},
		{"dword", integer(0x10000), []byte{0x0c, 0, 0, 1, 0}},
		{"qword", integer(1 << 32), []byte{0x0e, 0, 0, 0, 0, 1, 0, 0, 0}},
		{"eisa id", eisaID("PNP0A03"), []byte{0x0c, 0x41, 0xd0, 0x0a, 0x03}},
		{"padded name", nameString("RTC"), []byte("RTC_")},
		{"rooted name", nameString(`\_SB`), []byte(`\_SB_`)},
		{"two segments", nameString(`\_SB.VGEN`), []byte("\\\x2e_SB_VGEN")},
		{"three segments", nameString("A.B.C"), []byte("\x2f\x03A___B___C___")},
		{"short length", counted(aml{0x10}, long(62)), append([]byte{0x10, 0x3f}, long(62)...)},
		{"two byte length", counted(aml{0x10}, long(63)), append([]byte{0x10, 0x41, 0x04}, long(63)...)},
		{"largest two byte length", counted(aml{0x10}, long(4093)), append([]byte{0x10, 0x4f, 0xff}, long(4093)...)},
		{"three byte length", counted(aml{0x10}, long(4094)), append([]byte{0x10, 0x81, 0x00, 0x01}, long(4094)...)},
	} {
		if !bytes.Equal(tc.got, tc.want) {
			t.Errorf("%s: % x, want % x", tc.name, tc.got[:min(16, len(tc.got))], tc.want[:min(16, len(tc.want))])
		}
	}
}
