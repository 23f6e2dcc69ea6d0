package main

import (
	"fmt"
	"strings"
	"sync"
)

// counts adds up results; several goroutines may share it.
type counts struct {
	mu                      sync.Mutex
	passed, failed, skipped int
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

// merge adds what o counted.
func (c *counts) merge(o *counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed += o.passed
	c.failed += o.failed
	c.skipped += o.skipped
}

// total is the number of tests that were run or skipped.
func (c *counts) total() int { return c.passed + c.failed + c.skipped }

// bad is the number of tests that did not pass.
func (c *counts) bad() int { return c.failed + c.skipped }

func (c *counts) summary() string {
	s := fmt.Sprintf("%d passed, %d failed", c.passed, c.failed)
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
