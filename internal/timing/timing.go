// Package timing notes when the steps on the way to a running VM were reached, for `--timing` and the benchmarks. It is
// always on: a mark costs a clock reading. It measures nothing by itself and decides nothing.
package timing

import (
	"fmt"
	"io"
	"sync"
	"time"
)

var start = time.Now()

type mark struct {
	name string
	at   time.Duration
}

var (
	mu    sync.Mutex
	marks = make([]mark, 0, 32)
)

// Mark notes that a step was reached. One process makes one VM, so names are few and each comes once.
func Mark(name string) {
	at := time.Since(start)
	mu.Lock()
	if len(marks) < cap(marks) {
		marks = append(marks, mark{name, at})
	}
	mu.Unlock()
}

// Report writes each mark with the milliseconds since the process's packages were initialised and since the mark before.
func Report(w io.Writer) {
	mu.Lock()
	defer mu.Unlock()
	var before time.Duration
	for _, m := range marks {
		fmt.Fprintf(w, "timing: %-22s %9.3f ms  +%.3f ms\n", m.name, ms(m.at), ms(m.at-before))
		before = m.at
	}
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
