package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// counts adds up results; several goroutines may share it.
type counts struct {
	mu                      sync.Mutex
	passed, failed, skipped int
	failures                []string // digests of failed tests
}

// add counts one result in the words of go test: "pass", "fail" or "skip". It
// ignores any other word.
func (c *counts) add(result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch strings.ToLower(result) {
	case "pass":
		c.passed++
	case "fail":
		c.failed++
	case "skip":
		c.skipped++
	}
}

// merge adds what o counted and explained.
func (c *counts) merge(o *counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed += o.passed
	c.failed += o.failed
	c.skipped += o.skipped
	c.failures = append(c.failures, o.failures...)
}

// total is the number of tests that were run or skipped.
func (c *counts) total() int { return c.passed + c.failed + c.skipped }

// bad is the number of tests that did not pass.
func (c *counts) bad() int { return c.failed + c.skipped }

// explain keeps what the test of that name said when it did not pass, given its
// output by lines, for the end of the summary.
func (c *counts) explain(name string, output []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, strings.Join(slices.Concat([]string{"FAILED " + name}, digest(output)), "\n"))
}

// summary repeats what failed tests said, and ends with a line of figures.
func (c *counts) summary() string {
	s := ""
	for _, f := range c.failures {
		s += f + "\n"
	}
	s += fmt.Sprintf("%d passed, %d failed", c.passed, c.failed)
	if c.skipped > 0 {
		s += fmt.Sprintf(", %d skipped", c.skipped)
	}
	return s
}

// resultOf returns the result that a line of go test -v reports for a top-level
// test, and "" for any other line. Subtests are part of their test.
func resultOf(line string) string {
	rest, ok := strings.CutPrefix(line, "--- ")
	if !ok {
		return ""
	}
	result, _, ok := strings.Cut(rest, ": ")
	if !ok {
		return ""
	}
	switch result {
	case "PASS", "FAIL", "SKIP":
		return result
	}
	return ""
}

const (
	digestMessages = 12 // of a test, its last
	digestLines    = 8  // of a message, its first
	digestColumns  = 400
)

// digest shortens a test's output to its last messages, each to its first lines:
// one that failed tends to say why at its end, and to show whole logs after that.
func digest(output []string) []string {
	var messages [][]string
	for _, line := range output {
		line = strings.TrimRight(line, "\n")
		if len(line) > digestColumns {
			line = line[:digestColumns] + "..."
		}
		switch {
		case strings.Contains(line, "_test.go:") || strings.HasPrefix(line, "panic: "):
			messages = append(messages, []string{line})
		case len(messages) > 0 && len(messages[len(messages)-1]) < digestLines:
			messages[len(messages)-1] = append(messages[len(messages)-1], line)
		}
	}
	return slices.Concat(messages[max(0, len(messages)-digestMessages):]...)
}
