package kvm

import "fmt"

// MSR is struct kvm_msr_entry: one model-specific register.
type MSR struct {
	Index uint32
	_     uint32
	Value uint64
}

type msrs struct {
	n, _    uint32
	entries [maxMSRs]MSR
}

const msrsHeader = 8

// MSRs reads the registers that exist on this processor; the others of the list are left out (§4.18).
func (v *VCPU) MSRs(indexes []uint32) ([]MSR, error) {
	out := make([]MSR, 0, len(indexes))
	for len(indexes) > 0 {
		m := &msrs{n: uint32(min(len(indexes), maxMSRs))}
		for i := range m.entries[:m.n] {
			m.entries[i].Index = indexes[i]
		}
		n, err := ioctlPtr(v.fd, iowr(0x88, msrsHeader), m)
		if err != nil {
			return nil, fmt.Errorf("KVM_GET_MSRS: %w", err)
		}
		out = append(out, m.entries[:n]...)
		if n < int(m.n) {
			n++ // the kernel stops at the first it does not have
		}
		indexes = indexes[n:]
	}
	return out, nil
}

// SetMSRs writes registers in order. One that the kernel refuses ends it with an error naming the register (§4.19).
func (v *VCPU) SetMSRs(list []MSR) error {
	for len(list) > 0 {
		m := &msrs{n: uint32(min(len(list), maxMSRs))}
		copy(m.entries[:], list[:m.n])
		n, err := ioctlPtr(v.fd, iow(0x89, msrsHeader), m)
		if err != nil {
			return fmt.Errorf("KVM_SET_MSRS: %w", err)
		}
		if n < int(m.n) {
			return &MSRError{list[n]}
		}
		list = list[n:]
	}
	return nil
}

// MSRError names the register that could not be written.
type MSRError struct{ MSR MSR }

func (e *MSRError) Error() string {
	return fmt.Sprintf("KVM refuses value %#x for MSR %#x", e.MSR.Value, e.MSR.Index)
}
