package control

import (
	"fmt"
	"os"
)

// HostMemory is the host's RAM, in bytes (proc(5), meminfo).
type HostMemory struct {
	Total     uint64 `json:"total"`
	Available uint64 `json:"available"` // without swapping
	SwapTotal uint64 `json:"swap_total"`
	SwapFree  uint64 `json:"swap_free"`
}

// ReadHostMemory measures the host.
func ReadHostMemory() (HostMemory, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return HostMemory{}, fmt.Errorf("memory of the host: %w", err)
	}
	return parseMeminfo(string(text))
}

func parseMeminfo(text string) (m HostMemory, err error) {
	for name, to := range map[string]*uint64{
		"MemTotal": &m.Total, "MemAvailable": &m.Available, "SwapTotal": &m.SwapTotal, "SwapFree": &m.SwapFree,
	} {
		if *to, err = field(text, name); err != nil {
			return HostMemory{}, fmt.Errorf("memory of the host: %w", err)
		}
	}
	return m, nil
}
