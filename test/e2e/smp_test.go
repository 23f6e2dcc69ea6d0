package e2e

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// arrivals runs a script in the guest and tells when each line of its output arrived here.
func (h *host) arrivals(t *testing.T, vm, script string) (lines []string, at []time.Time) {
	t.Helper()
	cmd := h.command(t.Context(), "exec", "--vm-id", vm, "--", "sh", "-c", script)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for s := bufio.NewScanner(out); s.Scan(); {
		lines, at = append(lines, s.Text()), append(at, time.Now())
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return lines, at
}

// TestForkSleepsOneSecond measures `sleep 1` on each vCPU of a fork by the guest's clock, and that clock by the host's. It
// fails when a vCPU's timer is lost, and when TSC and kvmclock were restored with different speeds or ages.
func TestForkSleepsOneSecond(t *testing.T) {
	h := forkHost(t)
	vm := h.fork(t, "base")
	for cpu := range 2 {
		// Microseconds, printed without starting a process. What comes on top of the sleep is a process started, which
		// sleep 0 shows; a busy host only ever adds to either, so the shortest of some counts.
		lines, at := h.arrivals(t, vm, fmt.Sprintf(`exec taskset -c %d bash -c 'for s in 0 1 0 1 0 1 0 1; do
			echo ${EPOCHREALTIME/./}; sleep $s; echo ${EPOCHREALTIME/./}; done'`, cpu))
		if len(lines) != 16 {
			t.Fatalf("the guest printed %q", lines)
		}
		shortest := func(seconds int) time.Duration {
			took := time.Hour
			for i := 2 * seconds; i < len(lines); i += 4 {
				took = min(took, time.Duration(number(t, lines[i+1])-number(t, lines[i]))*time.Microsecond)
			}
			return took
		}
		nothing, second := shortest(0), shortest(1)
		t.Logf("vCPU %d: by the guest's clock sleep 1 took %v, and sleep 0 %v", cpu, second, nothing)
		const jitter = 100 * time.Millisecond
		if second < time.Second || second > time.Second+nothing+jitter {
			t.Errorf("vCPU %d: by the guest's clock sleep 1 took %v, and sleep 0 %v", cpu, second, nothing)
		}
		// How late each line came by the guest's clock, from the first one on. A busy host holds up any of them, the first too,
		// and makes none come early.
		late := make([]time.Duration, len(lines))
		for i := range lines {
			late[i] = at[i].Sub(at[0]) - time.Duration(number(t, lines[i])-number(t, lines[0]))*time.Microsecond
		}
		if apart := slices.Min(late[8:]) - slices.Min(late[:8]); apart.Abs() > jitter {
			t.Errorf("vCPU %d: the guest's clock and the host's went apart by %v: lines were late by %v", cpu, apart, late)
		}
	}
}

// TestForkWorksOnEveryVCPU keeps both vCPUs of a fork busy and looks at what each did. It fails when a vCPU but the first
// is not restored, or its local APIC is not.
func TestForkWorksOnEveryVCPU(t *testing.T) {
	h := forkHost(t)
	vm := h.fork(t, "base")
	if got := h.exec(t, vm, "nproc"); got != "2" {
		t.Fatalf("the fork has %s processors, its template had 2", got)
	}
	// For each vCPU: user time in 1/100 s and local timer interrupts, then the interrupts by which one calls the other.
	const counters = `sed -n 's/^cpu[01] \([0-9]*\) .*/\1/p' /proc/stat
sed -n 's/^ *\(LOC\|RES\|CAL\): *\([0-9]*\) *\([0-9]*\) .*/\2 \3/p' /proc/interrupts | tr ' ' '\n'
`
	const busy = `i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo $i`
	script := counters + "for cpu in 0 1; do taskset -c $cpu sh -c '" + busy + "' & done; wait\n" + counters
	lines := strings.Fields(h.sh(t, vm, script))
	if len(lines) != 8+2+8 || lines[8] != "60000" || lines[9] != "60000" {
		t.Fatalf("the guest printed %q", lines)
	}
	before, after := lines[:8], lines[10:]
	grown := func(i int) int { return number(t, after[i]) - number(t, before[i]) }
	for cpu := range 2 {
		if ticks := grown(cpu); ticks < 5 {
			t.Errorf("vCPU %d worked for %d/100 s", cpu, ticks)
		}
		timer := 0
		for row := 1; row < 4; row++ {
			timer += grown(2*row + cpu)
		}
		if timer < 5 {
			t.Errorf("vCPU %d had %d interrupts of its own: %q, then %q", cpu, timer, before, after)
		}
	}
	// One process moved to and fro: each move is a call from one vCPU to the other.
	const moves = `i=0; while [ $i -lt 40 ]; do taskset -cp $((i%2)) $$ >/dev/null || exit 1; i=$((i+1)); done; echo moved`
	if got := h.sh(t, vm, moves); got != "moved" {
		t.Errorf("moving a process between vCPUs: %s", got)
	}
}
