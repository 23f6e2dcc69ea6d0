package e2e

import (
	"bufio"
	"fmt"
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

// TestForkSleepsOneSecond measures `sleep 1` on each vCPU of a fork, by this host's clock and by the guest's. It fails
// when a vCPU's timer is lost, and when TSC and kvmclock were restored with different speeds or ages.
func TestForkSleepsOneSecond(t *testing.T) {
	h := forkHost(t)
	vm := h.fork(t, "base")
	// What comes on top of the sleep: a process started, a line sent. It is measured with the same script without sleeping.
	measure := func(cpu int, command string) (here, guest time.Duration) {
		lines, at := h.arrivals(t, vm, fmt.Sprintf("date +%%s%%N; taskset -c %d %s; date +%%s%%N", cpu, command))
		if len(lines) != 2 {
			t.Fatalf("the guest printed %q", lines)
		}
		return at[1].Sub(at[0]), time.Duration(number(t, lines[1]) - number(t, lines[0]))
	}
	for cpu := range 2 {
		measure(cpu, "sleep 0") // brings the programs in
		overheadHere, overheadGuest := measure(cpu, "sleep 0")
		here, guest := measure(cpu, "sleep 1")
		t.Logf("vCPU %d: sleep 1 took %v here and %v in the guest, sleep 0 %v and %v", cpu, here, guest, overheadHere, overheadGuest)
		const jitter = 100 * time.Millisecond
		if here < time.Second-jitter || here > time.Second+overheadHere+2*jitter {
			t.Errorf("vCPU %d: sleep 1 took %v, and sleep 0 %v", cpu, here, overheadHere)
		}
		if guest < time.Second || guest > time.Second+overheadGuest+2*jitter {
			t.Errorf("vCPU %d: by the guest's clock sleep 1 took %v, and sleep 0 %v", cpu, guest, overheadGuest)
		}
		if diff := (here - guest).Abs(); diff > jitter {
			t.Errorf("vCPU %d: a second of the guest differs from one here by %v", cpu, diff)
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
