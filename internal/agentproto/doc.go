// Package agentproto is the protocol between the host and the agent inside a
// guest: the frames, the messages and the flow control that both ends share.
//
// It is not a client and not a server: it opens nothing, starts no goroutine
// and keeps no connection. The host's end is package agent, the guest's end is
// package guest/agentd.
//
// # Reading order
//
//   - Type, Flags and Header, ReadFrame and AppendFrame (frame.go, types.go):
//     a frame is a 12-byte header and a payload.
//   - Message and its implementations (hello.go, exec.go, file.go, identity.go,
//     clock.go, machine.go): what a payload says.
//   - DecodeRequest and DecodeReply (decode.go): one decoder per direction.
//   - SendWindow and ReceiveQueue (window.go, queue.go): flow control.
//
// # Frame
//
//	offset size  field
//	0      4     length of the payload in bytes, not counting this header
//	4      1     type
//	5      1     flags (Data: stream and end of stream; otherwise 0)
//	6      2     reserved, 0
//	8      4     request id, chosen by the host, never 0, never used twice
//	12     -     payload
//
// All integers are little-endian. A payload holds at most MaxData bytes, an
// Exec at most MaxExec. Strings and lists carry their length in front, as a
// uint32; no string holds a NUL.
//
// # Conversation
//
// The host sends requests; each is ended by exactly one final reply with the
// same id: Error, or the reply that belongs to it. In between, Data and Credit
// frames with that id run in both directions:
//
//	Hello       → Hello            first on every connection, later a ping
//	Exec        → Data*, Exit      Data in (stdin), Signal, Resize, Cancel
//	CopyIn      → OK               Data in, its end marked by FlagEnd
//	CopyOut     → FileInfo, Data*, OK
//	Identity    → Ack
//	ClockGet    → Clock
//	ClockCompare → Comparison
//	Stats       → StatsReply
//	ClockAdjust, Entropy, Sync, Shutdown, Bind → OK
//
// Cancel gives a request up. Frames for a request that has just ended are
// ignored, since both ends send at once. A request of unknown type is answered
// with Error (ENOSYS), so that a newer host can talk to the older agent that
// lives in an old template.
//
// # Flow control
//
// Each stream of each request starts with a credit of Window bytes. A sender
// never sends more than its credit; a receiver gives credit back with Credit
// when its reader took the bytes. So one end holds at most Window bytes per
// stream, its reader never has to wait, and a stream nobody reads stops only
// itself. More than the credit is a protocol error and ends the connection.
package agentproto
