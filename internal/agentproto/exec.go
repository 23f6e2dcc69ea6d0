package agentproto

import (
	"errors"
	"strings"
)

// Exec starts a command.
type Exec struct {
	Args  []string // the program and its arguments; looked up in PATH
	Env   []string // KEY=value, added to the default environment, replacing it by key
	Dir   string   // working directory, absolute; empty: the user's home, else /
	User  string   // name, uid, name:group or uid:gid; empty: root
	Stdin bool     // Data comes; otherwise stdin is /dev/null
	TTY   bool     // stdin, stdout and stderr are a terminal of Rows by Columns
	Rows  uint16
	Cols  uint16
}

// Validate tells what the agent would refuse.
func (m Exec) Validate() error {
	if len(m.Args) == 0 || m.Args[0] == "" {
		return errors.New("no command given")
	}
	for _, s := range m.Args {
		if strings.IndexByte(s, 0) >= 0 {
			return errors.New("an argument holds a NUL byte")
		}
	}
	for _, kv := range m.Env {
		if strings.IndexByte(kv, '=') < 1 || strings.IndexByte(kv, 0) >= 0 {
			return errors.New("environment entry is not KEY=value: " + kv)
		}
	}
	if m.Dir != "" && !absolute(m.Dir) {
		return errors.New("working directory is not absolute: " + m.Dir)
	}
	if strings.IndexByte(m.Dir, 0) >= 0 || strings.IndexByte(m.User, 0) >= 0 {
		return errors.New("directory or user holds a NUL byte")
	}
	return nil
}

// Type implements Message.
func (Exec) Type() Type { return TypeExec }

func (m Exec) append(b []byte) []byte {
	b = appendStrings(b, m.Args)
	b = appendStrings(b, m.Env)
	b = appendString(b, m.Dir)
	b = appendString(b, m.User)
	b = appendBool(b, m.Stdin)
	b = appendBool(b, m.TTY)
	b = le.AppendUint16(b, m.Rows)
	return le.AppendUint16(b, m.Cols)
}

func decodeExec(p []byte) (Exec, error) {
	d := decoder{b: p}
	m := Exec{
		Args: d.strs(), Env: d.strs(), Dir: d.str(4096), User: d.str(256),
		Stdin: d.bool(), TTY: d.bool(), Rows: d.u16(), Cols: d.u16(),
	}
	if err := d.done("exec"); err != nil {
		return Exec{}, err
	}
	if err := m.Validate(); err != nil {
		return Exec{}, violation("exec: " + err.Error())
	}
	return m, nil
}

// Exit is the final reply of Exec.
type Exit struct {
	// Status is the exit status as a shell shows it: 0 to 255, 128+n after
	// signal n, 127 when the command was not found, 126 when it could not be run.
	Status uint8
	// Signal is the number of the signal that ended the command, or 0.
	Signal uint8
}

// Type implements Message.
func (Exit) Type() Type { return TypeExit }

func (m Exit) append(b []byte) []byte { return append(b, m.Status, m.Signal) }

func decodeExit(p []byte) (Exit, error) {
	d := decoder{b: p}
	m := Exit{Status: d.u8(), Signal: d.u8()}
	return m, d.done("exit")
}

// Signal sends a signal to the process group of a command.
type Signal struct{ Number uint8 } // Linux signal number, 1 to 64

// Type implements Message.
func (Signal) Type() Type { return TypeSignal }

func (m Signal) append(b []byte) []byte { return append(b, m.Number) }

func decodeSignal(p []byte) (Signal, error) {
	d := decoder{b: p}
	m := Signal{Number: d.u8()}
	d.bad = d.bad || m.Number < 1 || m.Number > 64
	return m, d.done("signal")
}

// Resize changes the size of a command's terminal, in characters.
type Resize struct{ Rows, Cols uint16 }

// Type implements Message.
func (Resize) Type() Type { return TypeResize }

func (m Resize) append(b []byte) []byte {
	return le.AppendUint16(le.AppendUint16(b, m.Rows), m.Cols)
}

func decodeResize(p []byte) (Resize, error) {
	d := decoder{b: p}
	m := Resize{Rows: d.u16(), Cols: d.u16()}
	return m, d.done("resize")
}
