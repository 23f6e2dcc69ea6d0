package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// diskLoad reads pieces of the root disk past every cache, one after the other, and writes down what it read.
const diskLoad = `k=0; while :; do
	sum=$(dd if=/dev/vda bs=256K skip=$k count=1 iflag=direct status=none | sha256sum)
	echo $k $sum >>/run/disk
	k=$(((k+1)%%%d))
	sleep 0.05
done`

const (
	diskPieces = 400
	pieceBytes = 256 << 10
)

// TestTwentyRoundsUnderLoad snapshots a guest at work, forks it, and takes the fork for the next source, twenty times. A
// disk request lost in any round stops the reader for ever, a lost timer the counter, a lost packet the stream; a wrong
// byte shows in a sum. Each template lies over the one before.
func TestTwentyRoundsUnderLoad(t *testing.T) {
	h := newHost(t)
	vm := h.boot(t, "--mem-mb", "160", "--vcpus", "2")
	h.awaitSystemd(t, vm)
	quiet := h.kernelComplaints(t, vm)
	h.startCounter(t, vm)
	h.startBackground(t, vm, fmt.Sprintf(diskLoad, diskPieces))
	count, reads := h.awaitCount(t, vm, 1), 0
	for round := range 20 {
		began := time.Now()
		name := fmt.Sprint("round-", round)
		e := h.startEcho(t, vm)
		h.snapshot(t, vm, name)
		h.checkTemplateClock(t, name)
		e.awaitMore(t)
		e.finish(t)
		next := h.fork(t, name)
		h.ok(t, "destroy", "--force", vm)
		vm = next

		count = h.awaitCount(t, vm, count+2)
		reads = h.awaitReads(t, vm, reads+2)
		// The fork has the source's command, but not its connection: the agent has ended it.
		if left := h.sh(t, vm, "for i in $(seq 100); do pgrep -x cat || exit 0; sleep 0.1; done"); strings.Count(left, "\n") > 98 {
			t.Errorf("round %d: a command of the source's still runs in the fork", round)
		}
		t.Logf("round %d took %v", round, time.Since(began).Round(time.Millisecond))
	}
	t.Logf("%d reads, the counter at %d", reads, count)
	checkReads(t, h.exec(t, vm, "cat", "/run/disk"))
	for line := range h.kernelComplaints(t, vm) {
		if !quiet[line] {
			t.Errorf("the guest's kernel complains: %s", line)
		}
	}
	if got := h.exec(t, vm, "systemctl", "is-system-running"); got != "running" {
		t.Errorf("systemd is %s", got)
	}
}

// awaitReads waits until the guest has read n pieces of its disk, and returns how many it has.
func (h *host) awaitReads(t *testing.T, vm string, n int) int {
	t.Helper()
	reads := number(t, h.sh(t, vm, fmt.Sprintf(`for i in $(seq 300); do
		n=$(wc -l </run/disk); [ $n -ge %d ] && break; sleep 0.1; done; echo $n`, n)))
	if reads < n {
		t.Fatalf("the disk reader in %s stands at %d pieces, want %d: it does not go on", vm, reads, n)
	}
	return reads
}

// checkReads compares what the guest read with the image: every piece in its turn, with the right content.
func checkReads(t *testing.T, log string) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := 0
	for line := range strings.Lines(log) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasSuffix(line, "\n") {
			continue // being written
		}
		if fields[0] != strconv.Itoa(want%diskPieces) {
			t.Fatalf("read %d of the disk is of piece %s", want, fields[0])
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, int64(want%diskPieces)*pieceBytes, pieceBytes)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sum.Sum(nil)); got != fields[1] {
			t.Errorf("read %d, of piece %s, was wrong", want, fields[0])
		}
		want++
	}
}
