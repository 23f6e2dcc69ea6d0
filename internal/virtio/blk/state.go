package blk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// state is the device's own state. It holds nothing that changes: requests in flight are finished before a save, and
// what the disk holds is the image's. It is there to refuse a disk that is not the one the guest knows.
type state struct {
	Size     int64 `json:"size"` // bytes
	ReadOnly bool  `json:"read_only"`
}

func (d *Device) Save() ([]byte, error) {
	return json.Marshal(state{Size: d.geometry.size, ReadOnly: d.geometry.readOnly})
}

// Load refuses a disk of another size, or one that became writable or read-only: the guest has read both once and
// does not look again.
func (d *Device) Load(saved []byte) error {
	var s state
	dec := json.NewDecoder(bytes.NewReader(saved))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return fmt.Errorf("disk %s: damaged state in the snapshot: %w", d.image.Name(), err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("disk %s: damaged state in the snapshot: more than one value", d.image.Name())
	}
	if s.Size != d.geometry.size {
		return fmt.Errorf("disk %s changed size since the snapshot, from %d to %d bytes: restore the image it had, or"+
			" take a new snapshot", d.image.Name(), s.Size, d.geometry.size)
	}
	if s.ReadOnly != d.geometry.readOnly {
		return fmt.Errorf("disk %s is %s now and was %s in the snapshot: open it as it was",
			d.image.Name(), access(d.geometry.readOnly), access(s.ReadOnly))
	}
	return nil
}

func access(readOnly bool) string {
	if readOnly {
		return "read-only"
	}
	return "writable"
}
