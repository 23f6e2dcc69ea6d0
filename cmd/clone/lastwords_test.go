package main

import (
	"strings"
	"testing"
)

func TestLastWords(t *testing.T) {
	for output, want := range map[string]string{
		"":                         "",
		"\r\n\r\n":                 "",
		"one\r\ntwo\r\n\r\n":       "two",
		"no end of line":           "no end of line",
		"\x1b[1mbold\x07\xff\r\n":  "[1mbold",
		strings.Repeat("x", 10000): strings.Repeat("x", maxWords),
		"clone-init: no disk\r\n[    1.2] reboot: Restarting system\r\n":   "clone-init: no disk",
		"[    2.0] Kernel panic - not syncing: why\n[    2.1] Call Trace:": "Kernel panic - not syncing: why",
		"x clone-init: " + strings.Repeat("y", 10000):                      ("clone-init: " + strings.Repeat("y", 10000))[:maxWords],
	} {
		if got := lastWords(output); got != want {
			t.Errorf("%.40q: %q, want %q", output, got, want)
		}
	}
}
