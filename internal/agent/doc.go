// Package agent is the host's client of the guest agent: commands, files,
// identity, clock and shutdown of one guest over one connection.
//
// It is not a transport: it is given connections, and knows only one way to make
// them itself (DialVsockUnix). It is not a terminal either: raw mode and window
// sizes are the caller's.
//
// # Reading order
//
//   - Dial, DialWait (dial.go) and DialVsockUnix (vsockunix.go) make a Client.
//   - Client (client.go): one connection, its reader, its calls (call.go).
//   - transfer (transfer.go): a request with streams.
//   - Exec, Command and Process (process.go): a command and its streams.
//   - CopyIn and CopyOut (copy.go).
//   - ApplyIdentity, SetClock and the small requests (machine.go,
//     clock.go, rawclock.go).
//
// # Rules
//
// A Client is safe for concurrent use. Whatever the guest sends is bounded: a
// frame by its type, a stream by its window, and a frame that breaks the
// protocol (package agentproto) ends the connection, never the program.
//
// The reader of a connection never writes and never waits for a caller. A
// command whose output nobody takes therefore stops only itself.
//
// Every method ends when its context does, or when the caller's own reader or
// writer returns after that. A frame that is half written then gets a second
// more, and so does the one that gives the request up; a guest that does not read
// for that long loses the connection.
//
// Close joins every goroutine of the Client, with one exception that Command
// documents: a Stdin that blocks in Read and has no deadlines.
package agent
