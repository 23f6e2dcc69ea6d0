package agentproto

import "syscall"

// Error is the final reply of a request that failed, and the error that the
// host's client returns for it. It is the error that its Errno is:
// errors.Is(err, fs.ErrNotExist) and errors.Is(err, syscall.EACCES) work.
type Error struct {
	Errno   syscall.Errno // Linux error number; 0 when there is none
	Message string        // what failed, at most 1024 bytes
}

const maxErrorText = 1024

// NewError makes the reply for err: the message of the first error that has an
// error number decides it.
func NewError(err error) Error {
	e := Error{Message: err.Error()}
	for err != nil {
		if n, ok := err.(syscall.Errno); ok {
			e.Errno = n
			break
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			break
		}
		err = u.Unwrap()
	}
	return e
}

// Type implements Message.
func (Error) Type() Type { return TypeError }

func (e Error) append(b []byte) []byte {
	b = le.AppendUint32(b, uint32(e.Errno))
	return appendString(b, e.Message[:min(len(e.Message), maxErrorText)])
}

func decodeError(p []byte) (Error, error) {
	d := decoder{b: p}
	m := Error{Errno: syscall.Errno(d.u32()), Message: d.text(maxErrorText)}
	d.bad = d.bad || m.Errno >= 4096 // the kernel's MAX_ERRNO is 4095
	return m, d.done("error")
}

// Error implements error.
func (e Error) Error() string {
	if e.Message == "" {
		return "guest agent: " + e.Errno.Error()
	}
	return "guest agent: " + e.Message
}

// Is compares by error number.
func (e Error) Is(target error) bool {
	if e.Errno == 0 {
		return false
	}
	return target == error(e.Errno) || e.Errno.Is(target)
}
