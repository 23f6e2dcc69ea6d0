package agentd

// failure is an error with what was being done: fmt, which would do the same,
// is a fifth of the agent's size.
type failure struct {
	doing string
	err   error
}

func (f *failure) Error() string { return f.doing + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(doing string, err error) error { return &failure{doing, err} }
