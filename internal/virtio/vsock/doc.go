// Package vsock is the virtio socket device in user space (virtio 1.2 §5.10): stream connections between the guest and
// Unix sockets of the host, with nothing privileged and no CID known to the host's kernel.
//
// Host → guest: a client connects to the VM's Unix socket and sends "CONNECT <port>\n". When the guest accepted it reads
// "OK <host port>\n" and is then on a byte stream to the guest; when the guest refused, the connection is closed.
// Guest → host: a guest's connect to CID 2, port P becomes a connection to the Unix socket "<path>_<P>".
//
// It is not a switch: guests do not reach each other, and there are no datagrams and no SOCK_SEQPACKET.
//
// A connection, as the device sees it:
//
//	  guest's REQUEST            host's CONNECT or Dial
//	         │                             │
//	         ▼                             ▼
//	    ┌─────────┐                 ┌───────────┐
//	    │ dialing │                 │ requested │ REQUEST →
//	    └─────────┘                 └───────────┘
//	         │ host socket connected,      │ ← RESPONSE, "OK" to the host
//	         │ RESPONSE →                  │
//	         └────────▶┌─────────────┐◀────┘
//	                   │ established │   RW, CREDIT_UPDATE, CREDIT_REQUEST, SHUTDOWN both ways
//	                   └─────────────┘
//	                          │ ← SHUTDOWN of both directions, protocol error, host socket failed, time out
//	                          ▼                                           (also from dialing and requested)
//	                     ┌────────┐
//	                     │ closed │ RST →, and out of the table once the guest was given it
//	                     └────────┘
//	← RST in any state: out of the table at once.
//
// Main types in reading order: [Device] (vsock.go), header (packet.go), conn (conn.go); then the guest's packets (tx.go),
// packets to the guest (rx.go), the host's side (host.go), the event queue (event.go), what is saved (state.go).
//
// Rules:
//   - One mutex guards the tables, every conn and the rx and event queues. No blocking call is made under it: sockets are
//     read and written under it without waiting only, and closed by the goroutine that serves the connection.
//   - Host data stays in the host's socket until the guest has both credit and a buffer for it; it is then read straight
//     into guest memory. So a pause loses nothing: between Stop and Start no byte is on its way to the guest.
//   - Guest data is written straight out of guest memory when the host socket takes it. The rest waits in a backlog that
//     our credit (bufAlloc) bounds and a goroutine drains, so a slow reader never holds up the tx queue.
//   - What is to be told the guest is a set of bits in the conn, not a queue: full rx rings cost no memory.
//   - A restored device goes on with the host ports where the saved one stood; state.go says why.
//   - Linux drops every connection when it handles TRANSPORT_RESET: after a restore no REQUEST is sent until the driver
//     has returned that event's buffer, or a new connection could die with the old ones.
package vsock
