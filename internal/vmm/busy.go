package vmm

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// BusyTime is how long the host's processors have run the vCPUs' threads so far: the guest's work, and what KVM and we do
// for it. A halted vCPU adds nothing.
func (m *Machine) BusyTime() (total time.Duration, err error) {
	for _, v := range m.vcpus {
		tid := v.tid.Load()
		if tid == 0 {
			continue // its thread has only just been made
		}
		// Documentation/scheduler/sched-stats.rst: nanoseconds on a processor, nanoseconds waiting for one, time slices.
		b, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(int(tid)) + "/schedstat")
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("schedstat of vCPU %d: %w", v.id, err)
		}
		total += time.Duration(ns)
	}
	return total, nil
}
