package session

import "clone/internal/vmm"

// askedBy notes who asked for the VM's end. The first counts: later ones insist.
func (s *Session) askedBy(who string) { s.asker.CompareAndSwap(nil, &who) }

// recordEnd leaves a record of why the VM ended, for whoever looks for it later. That it cannot be written changes nothing.
func (s *Session) recordEnd(out vmm.Outcome, err error) {
	if s.opts.End == nil {
		return
	}
	status, reason, console := s.opts.End(out, err)
	if reason == "" {
		return
	}
	if who := s.asker.Load(); who != nil {
		reason += " (asked for by " + *who + ")"
	}
	_ = s.dir.SetEnd(status, reason, console)
}

func (s *Session) isReady() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// LogPath is the file for what this process says on standard error once nobody reads that any more.
func (s *Session) LogPath() string { return s.dir.Log() }
