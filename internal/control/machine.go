package control

import (
	"context"
	"errors"
	"io"
)

// Machine is the VM behind a server. Its methods are called from several goroutines at once.
type Machine interface {
	Info() Info
	// Snapshot stores the machine as a template. The machine goes on, or stays paused, as it was.
	Snapshot(context.Context, SnapshotRequest) (SnapshotResult, error)
	// Shutdown returns when the guest has stopped, or with an error when it has not.
	Shutdown(context.Context, ShutdownRequest) error
	PowerButton() error // press the ACPI power button, and return
	Pause() error
	Resume() error
	// Console attaches to the serial port: Read returns what the guest prints, io.EOF when the machine has ended; Write
	// types. Close detaches, and makes Read return. Several streams at once see the same.
	Console() (io.ReadWriteCloser, error)
}

// SnapshotRequest is the body of POST /v1/vm/snapshot.
type SnapshotRequest struct {
	Name string `json:"name"` // of the new template
	Dir  string `json:"dir"`  // absolute path of the directory that holds templates
	// SettleSeconds is how long the guest may take to come to rest first; 0: it is taken as it is.
	SettleSeconds float64 `json:"settle_seconds,omitempty"`
	// Store says what is stored of the memory: one of the Store constants.
	Store string `json:"store,omitempty"`
}

// What a snapshot stores of the memory.
const (
	StoreAuto        = ""            // of a fork what differs from its template, of any other VM all
	StoreFull        = "full"        // all
	StoreIncremental = "incremental" // what differs from the template the VM was last stored as, or came from
)

// SnapshotResult is its answer.
type SnapshotResult struct {
	Template         string `json:"template"`          // path of the new template
	PauseNanoseconds int64  `json:"pause_nanoseconds"` // how long the guest stood still
	TotalNanoseconds int64  `json:"total_nanoseconds"` // from the request to the sealed template
	MemoryBytes      int64  `json:"memory_bytes"`      // stored: pages of zeros are not
	Parent           string `json:"parent,omitempty"`  // name of the template it builds on; "" when it stands alone
	Note             string `json:"note,omitempty"`    // why all was stored, where a layer would have been expected
}

// ShutdownRequest is the body of POST /v1/vm/shutdown.
type ShutdownRequest struct {
	Force          bool    `json:"force"`           // stop at once; the guest is not asked
	TimeoutSeconds float64 `json:"timeout_seconds"` // how long the guest may take; 0: as long as the caller waits
}

// Errors of a Machine that the server gives a status of their own. Wrap them; any other error is the machine's failure.
var (
	ErrInvalid  = errors.New("invalid request")        // 400: no machine could do this
	ErrConflict = errors.New("not possible right now") // 409: this machine cannot, as it is
)

// ErrGone is wrapped by a Client's errors that mean: the VM's process is no longer there.
var ErrGone = errors.New("the VM is gone")

// Error is an error that the VM answered with.
type Error struct {
	Status  int    `json:"-"`     // HTTP status
	Message string `json:"error"` //
}

func (e *Error) Error() string { return e.Message }

// Is makes errors.Is see ErrInvalid and ErrConflict across the socket.
func (e *Error) Is(target error) bool {
	return target == ErrInvalid && e.Status == 400 || target == ErrConflict && e.Status == 409
}
