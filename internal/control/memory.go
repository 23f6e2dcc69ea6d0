package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"clone/internal/cgroup"

	"golang.org/x/sys/unix"
)

// Memory is what a VM takes of its host, in bytes. Pages that it shares are counted too, but apart: what the host would get
// back if the VM ended is [Memory.Cost].
type Memory struct {
	Guest   Pages `json:"guest"`   // guest RAM
	Monitor Pages `json:"monitor"` // everything else in the VM's process
	// MergedShare is the part of pages merged by KSM that falls to this VM: their size divided by how many use them.
	MergedShare uint64       `json:"merged_share"`
	PageTables  uint64       `json:"page_tables"` // of the process (proc(5), VmPTE)
	Kernel      KernelMemory `json:"kernel"`
}

// Pages are those of a process, or of a part of it, by what becomes of them when it ends.
type Pages struct {
	Mapped       uint64 `json:"mapped"`       // address space, touched or not
	Resident     uint64 `json:"resident"`     // in RAM: what this VM would take if nothing were shared
	Private      uint64 `json:"private"`      // anonymous and nobody else's: pages that the VM has changed
	Shared       uint64 `json:"shared"`       // others have them too, or can: the template's, the program's, merged ones
	Proportional uint64 `json:"proportional"` // resident, each page divided by how many map it
	Merged       uint64 `json:"merged"`       // of the shared ones, those that KSM merged (Linux 6.6)
	Swapped      uint64 `json:"swapped"`      // anonymous, and on the swap device
}

// KernelMemory is what the host's kernel holds for a VM besides the page tables of its process: KVM's structures and page
// tables, stacks of threads, files and events.
type KernelMemory struct {
	Bytes  uint64       `json:"bytes"`
	Source KernelSource `json:"source"`
	// Of the bytes, as far as the VM's control group tells; 0 where it has none.
	SecondaryPageTables uint64 `json:"secondary_page_tables"` // KVM's translations of guest-physical addresses
	Slab                uint64 `json:"slab"`
	Stacks              uint64 `json:"stacks"`
	PerCPU              uint64 `json:"per_cpu"`
}

// KernelSource says how the kernel's memory is known.
type KernelSource string

// The sources.
const (
	Measured  KernelSource = "cgroup"   // the kernel's own count for the VM's control group
	Estimated KernelSource = "estimate" // the VM has no control group: what VMs of its kind were seen to take
)

// Cost is what the host would get back, in RAM, if the VM ended: by how much it makes MemAvailable fall. Clean pages of files
// are not in it: the host can drop them, whoever maps them.
func (m Memory) Cost() uint64 {
	return m.Guest.Private + m.Monitor.Private + m.MergedShare + m.PageTables + m.Kernel.Bytes
}

// Add is the sum of two VMs' memory. It is measured where both are.
func (m Memory) Add(o Memory) Memory {
	m.Guest, m.Monitor = m.Guest.add(o.Guest), m.Monitor.add(o.Monitor)
	m.MergedShare += o.MergedShare
	m.PageTables += o.PageTables
	m.Kernel.Bytes += o.Kernel.Bytes
	m.Kernel.SecondaryPageTables += o.Kernel.SecondaryPageTables
	m.Kernel.Slab += o.Kernel.Slab
	m.Kernel.Stacks += o.Kernel.Stacks
	m.Kernel.PerCPU += o.Kernel.PerCPU
	if m.Kernel.Source == "" || o.Kernel.Source == Estimated {
		m.Kernel.Source = o.Kernel.Source
	}
	return m
}

func (p Pages) add(o Pages) Pages {
	return Pages{
		Mapped: p.Mapped + o.Mapped, Resident: p.Resident + o.Resident, Private: p.Private + o.Private, Shared: p.Shared + o.Shared,
		Proportional: p.Proportional + o.Proportional, Merged: p.Merged + o.Merged, Swapped: p.Swapped + o.Swapped,
	}
}

// What the kernel takes for a VM that nobody counted, from VMs that were (docs/decisions.md, "What a VM costs"). KVM's page
// tables come on top: they map what the process's own do, so they are taken to be as large.
const (
	kernelPerVM   = 170 << 10 // bytes
	kernelPerVCPU = 270 << 10 // bytes
)

// MemoryOf measures a VM. Its error wraps ErrGone where the VM's process has ended. Guest RAM is told from the rest by
// where the VM says it is mapped; of a VM that has not said it yet everything is the monitor's.
func MemoryOf(vm Info) (Memory, error) {
	dir := "/proc/" + strconv.Itoa(vm.PID) + "/"
	ranges, err := parseRanges(vm.RAM)
	if err != nil {
		return Memory{}, fmt.Errorf("memory of VM %s: %w", vm, err)
	}
	m, err := measure(dir, ranges)
	// A process that ends while its files are read gives ESRCH.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, errNoMemory) {
		return Memory{}, fmt.Errorf("%w: no process %d", ErrGone, vm.PID)
	}
	if err != nil {
		return Memory{}, fmt.Errorf("memory of VM %s: %w", vm, err)
	}
	m.Kernel = kernelOf(vm, m.PageTables)
	return m, nil
}

// errNoMemory is a process that has ended and was not waited for: it has files in /proc, and nothing in them.
var errNoMemory = errors.New("the process has no memory")

func measure(dir string, ram []addressRange) (m Memory, err error) {
	text, err := os.ReadFile(dir + "smaps")
	if err != nil {
		return m, err
	}
	if len(text) == 0 {
		return m, errNoMemory
	}
	if m, err = parseSmaps(string(text), ram); err != nil {
		return m, err
	}
	if m.Guest.Merged+m.Monitor.Merged > 0 {
		rollup, err := os.ReadFile(dir + "smaps_rollup")
		if err != nil {
			return m, err
		}
		share, err := field(string(rollup), "Pss_Anon")
		if err != nil {
			return m, err
		}
		// Of all anonymous pages by their share, what nobody shares is counted already.
		m.MergedShare = share - min(share, m.Guest.Private+m.Monitor.Private)
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return m, err
	}
	m.PageTables, err = field(string(status), "VmPTE")
	return m, err
}

func kernelOf(vm Info, pageTables uint64) KernelMemory {
	if vm.Cgroup != "" {
		if k, err := cgroup.KernelOf(vm.Cgroup); err == nil {
			return KernelMemory{
				Bytes: k.Total - min(k.Total, k.PageTables), Source: Measured,
				SecondaryPageTables: k.SecondaryPageTables, Slab: k.Slab, Stacks: k.Stacks, PerCPU: k.PerCPU,
			}
		}
	}
	return KernelMemory{Bytes: kernelPerVM + uint64(max(vm.VCPUs, 1))*kernelPerVCPU + pageTables, Source: Estimated}
}

// field finds a line such as "VmPTE:      2048 kB", and returns bytes. A field that is not there is 0.
func field(text, name string) (uint64, error) {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return kibibytes(key, value)
		}
	}
	return 0, nil
}

func kibibytes(key, value string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 50)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return n << 10, nil
}
