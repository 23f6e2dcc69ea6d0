package kvm

import "fmt"

// Blob is one part of a vCPU's state that is carried as the kernel's own bytes.
type Blob struct {
	Name     string // section name in a saved state
	Size     int    // bytes
	get, set uintptr
}

// The opaque parts of a vCPU's state. XSAVE is apart because its size depends on the processor.
var (
	RegsBlob  = Blob{"regs", 144, ior(0x81, 144), iow(0x82, 144)}      // §4.11
	SRegsBlob = Blob{"sregs2", 320, ior(0xcc, 320), iow(0xcd, 320)}    // §4.132
	LAPIC     = Blob{"lapic", 1024, ior(0x8e, 1024), iow(0x8f, 1024)}  // §4.57
	Events    = Blob{"events", 64, ior(0x9f, 64), iow(0xa0, 64)}       // §4.31
	DebugRegs = Blob{"debugregs", 128, ior(0xa1, 128), iow(0xa2, 128)} // §4.33
	XCRs      = Blob{"xcrs", 392, ior(0xa6, 392), iow(0xa7, 392)}      // §4.44
)

// XSave returns the extended processor state of this host's size (§4.42, §4.134). xsave2 is the value of CapXSave2, the
// size in bytes where the processor has more than 4 KiB of it, or 0 on older kernels.
func XSave(xsave2 int) Blob {
	const legacy = 4096
	set := iow(0xa5, legacy)
	if xsave2 <= legacy {
		return Blob{"xsave", legacy, ior(0xa4, legacy), set}
	}
	return Blob{"xsave", xsave2, ior(0xcf, legacy), set}
}

// Get reads a part of the state.
func (v *VCPU) Get(b Blob) ([]byte, error) {
	p := make([]byte, b.Size)
	if err := ioctlBytes(v.fd, b.get, p); err != nil {
		return nil, fmt.Errorf("read vCPU %s: %w", b.Name, err)
	}
	return p, nil
}

// Set writes it back.
func (v *VCPU) Set(b Blob, p []byte) error {
	if err := setBytes(v.fd, b.set, p, b.Size); err != nil {
		return fmt.Errorf("restore vCPU %s: %w", b.Name, err)
	}
	return nil
}
