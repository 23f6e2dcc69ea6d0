package agentd

import (
	"os"
	"strconv"
	"strings"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// Stats implements System from sysinfo(2), which needs no file, and the one
// figure of /proc/meminfo that it lacks.
func (l Linux) Stats() (agentproto.StatsReply, error) {
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return agentproto.StatsReply{}, failed("sysinfo", err)
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return agentproto.StatsReply{}, failed("read the boot clock", err)
	}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return agentproto.StatsReply{}, err
	}
	available, ok := memAvailable(string(text))
	if !ok { // kernels before 3.14
		available = si.Freeram * uint64(si.Unit)
	}
	st := agentproto.StatsReply{
		MemTotal:     si.Totalram * uint64(si.Unit),
		MemAvailable: available,
		Uptime:       uint64(up.Nano()),
		Processes:    uint32(si.Procs),
		Realtime:     l.Realtime(),
	}
	for i, v := range si.Loads { // SI_LOAD_SHIFT is 16
		st.Load[i] = uint32(v)
	}
	return st, nil
}

// memAvailable finds MemAvailable in /proc/meminfo, in bytes.
func memAvailable(meminfo string) (uint64, bool) {
	_, rest, ok := strings.Cut(meminfo, "MemAvailable:")
	if !ok {
		return 0, false
	}
	field, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " kB")
	kb, err := strconv.ParseUint(field, 10, 54)
	return kb << 10, err == nil
}
