package main

import (
	"bytes"
	"testing"
	"time"
)

func TestTexts(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536 << 10: "1.5 MiB", 512 << 20: "512 MiB",
		5 << 30: "5 GiB", 1 << 41: "2 TiB", 1 << 60: "1048576 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s",
		61 * time.Second: "1m1s", 2*time.Hour + 13*time.Minute: "2h13m", 49 * time.Hour: "2d1h"} {
		if got := ageText(d); got != want {
			t.Errorf("ageText(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := printTable(&b, [][]string{{"ID", "NAME", "X"}, {"0123", "", "y"}}); err != nil {
		t.Fatal(err)
	}
	if want := "ID    NAME  X\n0123  -     y\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
