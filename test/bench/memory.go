package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"
)

// meminfo is a field of /proc/meminfo, in bytes; 0 where there is none.
func meminfo(field string) int64 {
	b, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == field+":" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// settledMemory is the host's MemAvailable once it stands still: the kernel goes on freeing what a VM had for seconds after its
// process has ended, and a guest goes on touching pages after its last command. It waits for so long at most.
func settledMemory(ctx context.Context) (int64, error) {
	const still, quiet, most = 1 << 20, 4 * time.Second, time.Minute
	ticks := time.NewTicker(500 * time.Millisecond)
	defer ticks.Stop()
	last, since := meminfo("MemAvailable"), time.Now()
	for began := since; time.Since(since) < quiet && time.Since(began) < most; {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if now := meminfo("MemAvailable"); now < last-still || now > last+still {
			last, since = now, time.Now()
		}
	}
	return meminfo("MemAvailable"), nil
}
