package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestResultOf(t *testing.T) {
	for line, want := range map[string]string{
		"--- PASS: TestX (0.10s)":     "PASS",
		"--- FAIL: TestX (0.10s)":     "FAIL",
		"--- SKIP: TestX (0.00s)":     "SKIP",
		"    --- FAIL: TestX/y (0s)":  "",
		"--- BENCH: BenchmarkX":       "",
		"=== RUN   TestX":             "",
		"PASS":                        "",
		"--- said the guest, and ate": "",
	} {
		if got := resultOf(line); got != want {
			t.Errorf("resultOf(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestLineWriter(t *testing.T) {
	var out bytes.Buffer
	var c counts
	w := &lineWriter{prefix: "1| ", out: &out, counts: &c}
	for _, part := range []string{"=== RUN   TestA\n--- PA", "SS: TestA (0.1s)\n=== CONT  TestB\n", "--- FAIL: TestB (0s)\n--- SKIP: TestC (0s)"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	w.flush()
	want := "1| === RUN   TestA\n1| --- PASS: TestA (0.1s)\n1| --- FAIL: TestB (0s)\n1| --- SKIP: TestC (0s)\n"
	if out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
	if got := c.summary(); got != "FAILED TestB (0s)\nFAILED TestC (0s)\n1 passed, 1 failed, 1 skipped" {
		t.Errorf("summary %q", got)
	}
	if c.total() != 3 || c.bad() != 2 {
		t.Errorf("total %d, bad %d", c.total(), c.bad())
	}
}

func TestRenderer(t *testing.T) {
	const events = `{"Action":"start","Package":"clone/a"}
{"Action":"run","Package":"clone/a","Test":"TestGood"}
{"Action":"output","Package":"clone/a","Test":"TestGood","Output":"quiet\n"}
{"Action":"pass","Package":"clone/a","Test":"TestGood/sub"}
{"Action":"pass","Package":"clone/a","Test":"TestGood"}
{"Action":"output","Package":"clone/a","Output":"PASS\n"}
{"Action":"output","Package":"clone/a","Output":"ok  \tclone/a\t0.1s\n"}
{"Action":"pass","Package":"clone/a"}
{"Action":"output","Package":"clone/b","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"clone/b","Test":"TestBad/sub","Output":"    b_test.go:1: wrong\n"}
{"Action":"fail","Package":"clone/b","Test":"TestBad/sub"}
{"Action":"fail","Package":"clone/b","Test":"TestBad"}
{"Action":"output","Package":"clone/b","Output":"FAIL\tclone/b\t0.1s\n"}
{"Action":"fail","Package":"clone/b"}
{"ImportPath":"clone/c","Action":"build-output","Output":"c.go:1: no\n"}
{"Action":"output","Package":"clone/c","Output":"FAIL\tclone/c [build failed]\n"}
{"Action":"fail","Package":"clone/c"}
{"Action":"output","Package":"clone/d","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"output","Package":"clone/d","Output":"FAIL\tclone/d\t600s\n"}
{"Action":"fail","Package":"clone/d"}
{"Action":"output","Package":"clone/e","Output":"?   \tclone/e\t[no test files]\n"}
{"Action":"skip","Package":"clone/e"}
`
	var out bytes.Buffer
	var c counts
	r := renderer{out: &out, counts: &c, pending: map[string][]string{}, failures: map[string]int{}}
	if err := r.render(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	want := "ok  \tclone/a\t0.1s\n" +
		"    b_test.go:1: wrong\nFAIL\tclone/b\t0.1s\n" +
		"c.go:1: no\nFAIL\tclone/c [build failed]\n" +
		"panic: test timed out\nFAIL\tclone/d\t600s\n"
	if out.String() != want {
		t.Errorf("rendered\n%s\nwant\n%s", out.String(), want)
	}
	// b's test, and c and d themselves.
	if got := c.summary(); got != "FAILED clone/b TestBad\n    b_test.go:1: wrong\n1 passed, 3 failed" {
		t.Errorf("summary %q", got)
	}
}

func TestDigest(t *testing.T) {
	var output []string
	for i := range digestMessages + 1 {
		output = append(output, fmt.Sprintf("    a_test.go:%d: round\n", i))
	}
	for i := range digestLines {
		output = append(output, fmt.Sprintf("        more %d\n", i))
	}
	output = append([]string{"no message yet\n"}, output...)
	output = append(output, "    b_test.go:1: "+strings.Repeat("x", 2*digestColumns))
	got := digest(output)
	if len(got) != digestMessages+digestLines-1 {
		t.Errorf("%d lines", len(got))
	}
	if want := "    a_test.go:2: round"; got[0] != want {
		t.Errorf("begins with %q, want %q", got[0], want)
	}
	if last := got[len(got)-1]; len(last) > digestColumns+3 || !strings.HasPrefix(last, "    b_test.go:1: x") {
		t.Errorf("ends with %q", last)
	}
}
