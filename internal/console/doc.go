// Package console stands between a guest's serial port and everybody who watches or types: `clone attach`, and the
// terminal of a foreground `clone run`.
//
// It is not the serial port (package legacy), it does not interpret what passes, and it changes no byte.
//
// Reading order: [Console] (one ring of what the guest printed, and where each [Stream] is in it), [Connect] (a stream and
// this process's terminal).
//
// Rules:
//   - The guest never waits for a reader. A reader that falls more than the ring behind loses the oldest bytes.
//   - A terminal that was made raw is restored on every way out.
package console
