package legacy

// OpenBus answers for ports that no device claims: reads give ones, as a bus floats, and writes are lost. It also serves the
// ports that guests write and never read, such as 0x80, which Linux writes to wait for a microsecond.
type OpenBus struct{}

// Read fills p with ones.
func (OpenBus) Read(_ uint16, p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

// Write ignores p.
func (OpenBus) Write(uint16, []byte) {}
