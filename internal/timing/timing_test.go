package timing

import (
	"strings"
	"testing"
)

func TestReportKeepsOrderAndIsBounded(t *testing.T) {
	for range 100 {
		Mark("step")
	}
	Mark("too many")
	var out strings.Builder
	Report(&out)
	if lines := strings.Count(out.String(), "\n"); lines != cap(marks) {
		t.Errorf("%d lines for %d marks kept:\n%s", lines, cap(marks), out.String())
	}
	if !strings.HasPrefix(out.String(), "timing: step ") || strings.Contains(out.String(), "too many") {
		t.Errorf("got:\n%s", out.String())
	}
}
