package vmm

import (
	"time"

	"clone/internal/guestmem"
)

// Frozen is a machine as it was at one instant.
type Frozen struct {
	State  []byte           // in the file's form
	Memory *guestmem.Frozen // to be closed
	Stood  time.Duration    // how long the guest stood still for it; 0 when it was paused anyway
}

// Freeze stops the machine for as long as it takes to save its state and to freeze its memory, and lets it go on: the
// memory is read afterwards. A machine that is paused stays so. Whatever fails, the machine goes on.
func (m *Machine) Freeze() (f *Frozen, err error) {
	m.life.mu.Lock()
	defer m.life.mu.Unlock()
	began, running := time.Now(), !m.life.paused
	if err := m.pause(); err != nil {
		return nil, err
	}
	f = &Frozen{}
	defer func() {
		if running {
			if resumeErr := m.resume(); err == nil {
				err = resumeErr
			}
			f.Stood = time.Since(began)
		}
		if err != nil {
			if f.Memory != nil {
				f.Memory.Close()
			}
			f = nil
		}
	}()
	st, err := m.save()
	if err != nil {
		return f, err
	}
	if f.State, err = st.MarshalBinary(); err != nil {
		return f, err
	}
	f.Memory, err = m.mem.Freeze()
	return f, err
}
