// Package control is one running VM as the rest of this host sees it: its directory in the run-time registry, and the
// HTTP+JSON interface of its process.
//
// It does not know how a machine works: it talks to a [Machine] and never imports vmm.
//
// Reading order: [Info] (what a VM says of itself), [Registry] and [Dir] (registry.go, dir.go: who is running),
// [Machine] and the requests (machine.go), [Serve] (server.go), [Client] (client.go).
//
// Rules:
//   - A VM is a process. It is alive exactly while the lock file of its directory is locked (an open file description
//     lock, fcntl(2) F_OFD_SETLK): the kernel drops the lock with the process, so a reused PID never looks like a VM,
//     and a crash never looks like life.
//   - Every change of who exists (creating, reaping) is made under the registry's own lock. Reading takes no lock; a
//     directory that looks dead is looked at again under the lock before it is removed.
//   - Nothing here is worth keeping: a directory whose VM is dead is removed by the next command that lists. Of why it ended
//     a small record stays ([Ended]), written by the VM's own process, or by whoever removes its directory. Records never
//     keep a VM from ending.
//   - The registry is private to one user (mode 0700, owner checked), and the server asks the kernel who is calling
//     (unix(7) SO_PEERCRED): root and the VM's own user, nobody else.
package control
