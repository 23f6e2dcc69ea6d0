package agentd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"clone/internal/agentproto"
)

// machineID sets machine-id(5). systemd mounts a file of /run over it when the
// image cannot be written; the agent does the same when writing in place fails.
func (a applier) machineID(id agentproto.Identity) (agentproto.Outcome, string, error) {
	path := a.sys.Path("/etc/machine-id")
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return agentproto.Skipped, "this machine has no /etc", nil
	}
	old := readID(path)
	if id.KeepMachineID && validMachineID(old) {
		copyUp(path)
		return agentproto.Kept, "", nil
	}
	text := hexString(id.MachineID[:]) + "\n"
	detail := ""
	if err := overwrite(path, text); err != nil {
		if err := a.cover(path, text); err != nil {
			return 0, "", err
		}
		detail = "mounted over a read-only one"
	}
	if readID(path)+"\n" != text {
		return 0, "", errors.New("/etc/machine-id does not show what was written")
	}
	a.dbusID(old, text)
	return agentproto.Done, detail, nil
}

// cover mounts a file with text over path.
func (a applier) cover(path, text string) error {
	if err := a.writeRun("machine-id", text); err != nil {
		return err
	}
	return a.sys.BindMount(filepath.Join(a.sys.Path(runDir), "machine-id"), path)
}

// dbusID follows with D-Bus's copy of the old id, where it is a copy and not a
// link. A read-only one is left: nothing mounts over it in a plain boot either.
func (a applier) dbusID(old, text string) {
	path := a.sys.Path("/var/lib/dbus/machine-id")
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || old == "" || readID(path) != old {
		return
	}
	_ = overwrite(path, text)
}

// readID is the id in a file, or "" when there is none.
func readID(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(text), "\n")
}

// validMachineID tells an id from an empty file and from "uninitialized".
func validMachineID(s string) bool {
	if len(s) != 32 || strings.Trim(s, "0") == "" {
		return false
	}
	return strings.Trim(s, hexDigits) == ""
}

const hexDigits = "0123456789abcdef"

// hexString is encoding/hex's, which brings all of fmt with it.
func hexString(b []byte) string {
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, hexDigits[c>>4], hexDigits[c&15])
	}
	return string(out)
}
