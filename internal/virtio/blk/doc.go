// Package blk is the virtio block device (virtio 1.2 §5.2): the guest's requests, turned into transfers between an
// image and guest memory.
//
// It is not an image format, and opens no file: what it needs of a disk is [Image], which internal/disk offers.
//
// Main types in reading order: [Config], [Image], [Device]; then request.go (parse: what a chain asks for), execute.go
// (do it), state.go (save and restore).
//
// Rules:
//   - parse is pure and total: it reads the chain and the disk's size, touches no image, and accepts any framing of
//     header, data and status over descriptors (virtio 1.2 §2.7.4). Nothing of a chain is read again after it, but data.
//   - A request that makes no sense is answered with an error status. Only a chain without room for that status is
//     answered with DEVICE_NEEDS_RESET.
//   - What the host has at hand is answered at once. Everything else runs on goroutines, up to maxInFlight of them, and
//     finishes in any order, as the specification lets it: one slow read or a flush does not stall what comes after.
//     Stop joins them all.
//   - The device has a write cache (the host's): a completed write is durable after the next flush. A driver that did
//     not negotiate VIRTIO_BLK_F_FLUSH gets every write flushed before it completes (§5.2.6.2).
//   - Features do not depend on the host, only on the image being writable, so that a snapshot can be restored anywhere.
package blk
