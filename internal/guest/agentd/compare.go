package agentd

import (
	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// compare reads the machine's clocks around the device that shows the host's, until both are close, and returns the closest.
func (s *Server) compare(gpa uint64) agentproto.Message {
	s.comparing.Lock() // the device shows what the last reader of its first register took
	defer s.comparing.Unlock()
	host, err := s.System.MapRegisters(gpa)
	if err != nil {
		return agentproto.NewError(err)
	}
	defer host.Close()
	best := agentproto.Comparison{Width: int64(agentproto.MaxComparison) + 1}
	for try := 0; try < pairTries && best.Width > int64(pairGoal); try++ {
		m := agentproto.Comparison{Realtime: s.System.Realtime(), Raw: s.System.Raw()}
		m.HostRealtime = int64(host.Uint64(0))
		m.Width = s.System.Realtime() - m.Realtime
		m.HostKVMClock = int64(host.Uint64(8))
		switch {
		case m.HostRealtime <= 0 || m.HostKVMClock <= 0: // there is no such device, or this is a fork since the first was read
		case m.Width < 0: // somebody stepped the clock
		case m.Width < best.Width:
			best = m
		}
	}
	if best.Width > int64(agentproto.MaxComparison) {
		return agentproto.NewError(failed("read the host's clock", unix.ENODEV))
	}
	return best
}
