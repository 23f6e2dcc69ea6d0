package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Memory is what a VM's process holds, in bytes (proc(5), smaps_rollup). The kernel's own memory for a VM, about 1 MiB
// for each, is not in it.
type Memory struct {
	Resident     uint64 `json:"resident"`
	PrivateDirty uint64 `json:"private_dirty"` // what this VM costs: pages nobody shares, and nothing backs
	PrivateClean uint64 `json:"private_clean"` // pages of files that only this VM uses at the moment
	Shared       uint64 `json:"shared"`        // pages that others use too: the template's, the program's
	Swapped      uint64 `json:"swapped"`
}

// MemoryOf measures a process.
func MemoryOf(pid int) (Memory, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if errors.Is(err, fs.ErrNotExist) {
		return Memory{}, fmt.Errorf("%w: no process %d", ErrGone, pid)
	}
	if err != nil {
		return Memory{}, fmt.Errorf("memory of the VM: %w", err)
	}
	return parseSmaps(string(b))
}

// parseSmaps reads lines such as "Private_Dirty:      2048 kB".
func parseSmaps(text string) (Memory, error) {
	var m Memory
	fields := map[string]*uint64{
		"Rss": &m.Resident, "Private_Dirty": &m.PrivateDirty, "Private_Clean": &m.PrivateClean,
		"Shared_Clean": &m.Shared, "Shared_Dirty": &m.Shared, "Swap": &m.Swapped,
	}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		sum := fields[key]
		if !ok || sum == nil {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 50)
		if err != nil {
			return Memory{}, fmt.Errorf("memory of the VM: %s: %w", key, err)
		}
		*sum += kib << 10
	}
	return m, nil
}
