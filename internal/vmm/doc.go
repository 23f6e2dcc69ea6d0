// Package vmm is the virtual machine: KVM, guest memory, the board and the devices put together from one
// configuration, booted or restored, paused, resumed and saved. One process has one [Machine].
//
// It is not the user's session: names, sockets, templates, the agent and the terminal are elsewhere. It opens no file
// but /dev/kvm.
//
// Main types in reading order: [Machine] (machine.go), [Boot], [Restore], vcpu, [State].
//
// Boot and Restore differ only in where the processor and device state comes from, and both end paused:
//
//	Boot ──┐                    ┌── Pause ──▶ Save
//	       ├──▶ paused ──▶ Resume ──▶ running ──▶ ended (Done, Outcome)
//	Restore┘        ▲               │
//	                └──── Pause ◀───┘
//
// Rules:
//   - Freezing goes vCPUs, then devices, then pending interrupts; thawing the other way round.
//   - Memory slots are registered before the interrupt controller exists: later each change costs milliseconds.
//   - A guest can end its own machine and nothing more: no path from an exit panics or exits the process.
//   - A vCPU goroutine keeps its thread for ever; it is kicked by request word, immediate_exit, signal, in this order.
package vmm
