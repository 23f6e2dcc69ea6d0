package vmm

import (
	"fmt"

	"clone/internal/kvm"
)

// serve answers one exit of KVM_RUN. An error ends the machine: it is for what the kernel says it cannot go on with,
// never for what a guest may do to a device.
func (v *vcpu) serve(reason uint32) error {
	switch reason {
	case kvm.ExitIntr:
		return nil
	case kvm.ExitIO:
		io := v.cpu.IO()
		for ; len(io.Data) > 0; io.Data = io.Data[io.Size:] {
			if p := io.Data[:io.Size]; io.Write {
				v.machine.ports.Write(uint64(io.Port), p)
			} else {
				v.machine.ports.Read(uint64(io.Port), p)
			}
		}
		return nil
	case kvm.ExitMMIO:
		if io := v.cpu.MMIO(); io.Write {
			v.machine.mmio.Write(io.GPA, io.Data)
		} else {
			v.machine.mmio.Read(io.GPA, io.Data)
		}
		return nil
	case kvm.ExitShutdown:
		v.machine.end(Outcome{Kind: TripleFault})
		return nil
	case kvm.ExitFailEntry:
		return fmt.Errorf("the processor refuses to enter the guest (hardware reason %#x)", v.cpu.FailureDetail()[0])
	case kvm.ExitInternalError:
		d := v.cpu.FailureDetail()
		regs, _ := v.cpu.Regs()
		return fmt.Errorf("KVM internal error %d at rip %#x: this KVM cannot run the guest's kernel; see `clone doctor`", uint32(d[0]), regs.RIP)
	default:
		return fmt.Errorf("unexpected KVM exit %d", reason)
	}
}
