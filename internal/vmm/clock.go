package vmm

import (
	"math/bits"
	"time"
)

// clocks is what makes time go on from where it stopped: a restored guest's TSC and kvmclock continue, together, as
// if the time in between had not been. The wall clock is then set by the agent.
type clocks struct {
	KVMClock uint64   `json:"kvmclock_ns"` // guest kvmclock
	TSCKHz   int      `json:"tsc_khz"`
	TSC      []uint64 `json:"tsc"` // of each vCPU, at the instant of KVMClock
}

// instant is one moment on both of the guest's time bases.
type instant struct {
	clock   uint64 // kvmclock, nanoseconds
	hostTSC uint64 // cycles, in the guest's frequency
}

// now reads both. Where the kernel does not give the pair, or gives it in the host's frequency when that is not the guest's,
// they are read one after the other, which leaves an error of microseconds between them.
func (m *Machine) now() (instant, error) {
	c, err := m.vm.Clock()
	if err != nil || c.HostTSC != 0 && !m.scaledTSC {
		return instant{c.NS, c.HostTSC}, err
	}
	guest, err := m.vcpus[0].readTSC()
	if err != nil {
		return instant{}, err
	}
	offset, err := m.vcpus[0].cpu.TSCOffset()
	return instant{c.NS, guest - offset}, err
}

// KVMClock reads the guest's kvmclock in nanoseconds. It goes on while the machine is paused.
func (m *Machine) KVMClock() (int64, error) {
	c, err := m.vm.Clock()
	return int64(c.NS), err
}

// hostClocks is what the guest is shown of them: the host's wall clock and the guest's kvmclock, one after the other.
func (m *Machine) hostClocks() (wall, kvmclock int64) {
	kvmclock, err := m.KVMClock()
	if err != nil {
		return 0, 0
	}
	return time.Now().UnixNano(), kvmclock
}

// saveClocks reads the clocks. All vCPUs are parked.
func (m *Machine) saveClocks() (c clocks, err error) {
	at, err := m.now()
	if err != nil {
		return c, err
	}
	c.KVMClock = at.clock
	if c.TSCKHz, err = m.vcpus[0].cpu.TSCKHz(); err != nil {
		return c, err
	}
	for _, v := range m.vcpus {
		offset, err := v.cpu.TSCOffset()
		if err != nil {
			return c, err
		}
		c.TSC = append(c.TSC, at.hostTSC+offset)
	}
	return c, nil
}

// restoreClocks sets the kvmclock going and then each TSC to what belongs to the kvmclock's present: both bases agree,
// whatever the time between the calls, and the vCPUs stay as far apart (that is, not at all) as they were.
func (m *Machine) restoreClocks(c clocks) error {
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
		m.scaledTSC = true
	}
	if err := m.vm.SetClock(c.KVMClock); err != nil {
		return err
	}
	at, err := m.now()
	if err != nil {
		return err
	}
	elapsed := cycles(at.clock-c.KVMClock, c.TSCKHz)
	for i, v := range m.vcpus {
		if err := v.cpu.SetTSCOffset(c.TSC[i] + elapsed - at.hostTSC); err != nil {
			return err
		}
	}
	return nil
}

// cycles is how far a counter of khz comes in ns nanoseconds. A clock that went back gives zero.
func cycles(ns uint64, khz int) uint64 {
	const perMillisecond = 1_000_000
	if int64(ns) < 0 {
		return 0
	}
	hi, lo := bits.Mul64(ns, uint64(khz))
	if hi >= perMillisecond {
		return 0
	}
	q, _ := bits.Div64(hi, lo, perMillisecond)
	return q
}

func (v *vcpu) readTSC() (uint64, error) {
	msrs, err := v.cpu.MSRs([]uint32{msrTSC})
	if err != nil || len(msrs) != 1 {
		return 0, err
	}
	return msrs[0].Value, nil
}
