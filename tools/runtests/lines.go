package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
)

// shown serialises the lines of several lineWriters.
var shown sync.Mutex

// A lineWriter passes whole lines on, each after prefix, and counts results.
type lineWriter struct {
	prefix string
	out    io.Writer
	counts *counts
	rest   []byte   // a line's beginning
	said   []string // by the test that is running
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		w.line(string(line))
		w.rest = rest
	}
}

// flush passes on what came after the last newline.
func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.line(string(w.rest))
		w.rest = nil
	}
}

func (w *lineWriter) line(line string) {
	switch result := resultOf(line); {
	case result != "":
		w.counts.add(result)
		if result != "PASS" {
			w.counts.explain(strings.TrimPrefix(line, "--- "+result+": "), w.said)
		}
		w.said = nil
	case strings.HasPrefix(line, "=== RUN"):
		// a subtest's as well: what came before it stays
	default:
		w.said = append(w.said, line)
	}
	for _, noise := range []string{"=== PAUSE", "=== CONT", "=== NAME"} {
		if strings.HasPrefix(line, noise) {
			return
		}
	}
	shown.Lock()
	defer shown.Unlock()
	fmt.Fprintf(w.out, "%s%s\n", w.prefix, line)
}
