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
func (m *Machine) Freeze() (*Frozen, error) {
	f := &Frozen{}
	stood, err := m.still(func() error {
		st, err := m.save()
		if err != nil {
			return err
		}
		if f.State, err = st.MarshalBinary(); err != nil {
			return err
		}
		f.Memory, err = m.mem.Freeze()
		return err
	})
	if err != nil {
		if f.Memory != nil {
			f.Memory.Close()
		}
		return nil, err
	}
	f.Stood = stood
	return f, nil
}

// still does something while the machine stands still, which goes on afterwards, whatever it returned, and tells how long
// it stood. A machine that was paused stays so, and stood for no time.
func (m *Machine) still(do func() error) (stood time.Duration, err error) {
	m.life.mu.Lock()
	defer m.life.mu.Unlock()
	began, running := time.Now(), !m.life.paused
	if err := m.pause(); err != nil {
		return 0, err
	}
	err = do()
	if running {
		if resumeErr := m.resume(); err == nil {
			err = resumeErr
		}
		stood = time.Since(began)
	}
	return stood, err
}
