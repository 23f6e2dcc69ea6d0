package vmm

// clocks is what makes time go on from where it stopped: a restored guest's TSC and kvmclock continue, together, as
// if the time in between had not been. The wall clock is then set by the agent.
type clocks struct {
	KVMClock uint64   `json:"kvmclock_ns"` // guest kvmclock
	TSCKHz   int      `json:"tsc_khz"`
	TSC      []uint64 `json:"tsc"` // of each vCPU, at one host instant
}

// saveClocks reads the clocks. All vCPUs are parked.
func (m *Machine) saveClocks() (c clocks, err error) {
	if c.KVMClock, err = m.vm.Clock(); err != nil {
		return c, err
	}
	if c.TSCKHz, err = m.vcpus[0].cpu.TSCKHz(); err != nil {
		return c, err
	}
	// The TSCs are read one after the other; their offsets to the host's say what they were at one instant.
	var first, firstOffset uint64
	for i, v := range m.vcpus {
		offset, err := v.cpu.TSCOffset()
		if err != nil {
			return c, err
		}
		if i == 0 {
			if first, err = v.readTSC(); err != nil {
				return c, err
			}
			firstOffset = offset
		}
		c.TSC = append(c.TSC, first+offset-firstOffset)
	}
	return c, nil
}

// restoreTSC sets every TSC from one reading of the host's, so that the vCPUs stay as far apart (that is, not at all)
// as they were.
func (m *Machine) restoreTSC(c clocks) error {
	khz, err := m.vcpus[0].cpu.TSCKHz()
	if err != nil {
		return err
	}
	for _, v := range m.vcpus {
		if khz == c.TSCKHz {
			break // setting even the same frequency needs hardware support
		}
		if err := v.cpu.SetTSCKHz(c.TSCKHz); err != nil {
			return err
		}
	}
	now, err := m.vcpus[0].readTSC()
	if err != nil {
		return err
	}
	offset, err := m.vcpus[0].cpu.TSCOffset()
	if err != nil {
		return err
	}
	host := now - offset
	for i, v := range m.vcpus {
		if err := v.cpu.SetTSCOffset(c.TSC[i] - host); err != nil {
			return err
		}
	}
	return nil
}

func (v *vcpu) readTSC() (uint64, error) {
	msrs, err := v.cpu.MSRs([]uint32{msrTSC})
	if err != nil || len(msrs) != 1 {
		return 0, err
	}
	return msrs[0].Value, nil
}
