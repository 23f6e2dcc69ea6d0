// Package session is one VM as this process: its run-time directory, console, control server, the handshake that makes
// it ready, snapshots, and its end. `clone run` and `clone fork` differ only in the [Source] they bring.
//
// It parses no flags and prints nothing but through [Options]. Main types in reading order: [Source], [Options],
// [Session].
//
// Life of a session:
//
//	directory ─▶ machine (paused) ─▶ resumed ─▶ handshake ─▶ ready: vsock socket appears ─▶ guest ends ─▶ directory gone
//
// Rules:
//   - Nobody else reaches the guest before it is ready: the vsock socket is made after the agent took identity and clock.
//   - A machine that cannot be made ready is ended, not left running.
package session
