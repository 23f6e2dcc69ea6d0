// Package agentd is the body of the guest agent: it listens on a vsock port and
// does what the host asks over package agentproto.
//
// It is not the guest's init: it mounts nothing it was not asked to, starts no
// services, reaps only the commands that it started itself, and is a child of
// PID 1 like any other.
//
// # Reading order
//
//   - Main (main.go) sets the process up, listens and serves.
//   - Server and Listener (server.go): accepted connections, one goroutine each.
//   - conn (conn.go) reads the frames of one connection; handle (handle.go)
//     tells which are answered at once and which become a request.
//   - request (request.go): what is under way on a connection.
//   - command (command.go, start.go, stream.go, tty.go, lookup.go, account.go):
//     Exec, from the message to the exit status.
//   - copyin.go, copyout.go: files.
//   - identity.go, machineid.go: what makes a fork a machine of its own.
//   - compare.go, registers.go: the guest's clocks beside the host's.
//   - System (system.go) and Linux (linux.go, shutdown.go, stats.go): what the
//     agent does to the machine. Tests have a System of their own.
//
// # Rules
//
// The reader of a connection never waits for a command, a disk or a slow peer's
// stream: everything that can wait is a goroutine of its own, and the bytes for
// it are bounded by its window. The clock is read in the reader itself, so that
// the time an answer takes says little but how long the wire is.
//
// A connection owns its commands. When it dies - the client left, or the machine
// was forked and the transport was reset - they are hung up: SIGHUP, and SIGKILL
// to the process group of what is still there after a second. The listening
// socket survives a fork, so accepting goes on.
//
// A command's exit is reported when its process is gone and its output was
// passed on, not when everybody has closed the pipe: a daemon left in the
// background keeps the pipe open for ever. After the exit the agent reads for
// at most drainGrace more, then what is in the pipe at that moment, and closes
// its end.
//
// An idle agent touches nothing: no tickers, no goroutine that polls, and no
// periodic garbage collection (see memory.go).
//
// Only the host (CID 2) is served: with vsock loopback, any process in the guest
// could connect otherwise, and the agent is root.
package agentd
