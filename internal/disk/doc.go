// Package disk opens disk images: what a virtual disk reads and writes, as ranges of bytes.
//
// It is not a block device model: sectors, requests and the guest are known to virtio/blk. It caches nothing; the
// host's page cache does, once for every VM that reads the same base.
//
// Main types in reading order: [Image], [Options], [OpenRaw].
//
// Rules:
//   - An image is never mapped into memory: one that is truncated under a running VM gives errors, not a SIGBUS.
//   - Transfers go straight between the file and the caller's buffers (preadv, pwritev), without a copy.
//   - An open image is locked (open file description locks, fcntl(2)): shared when it is read-only, exclusive when it
//     is writable. So two VMs never write one image, and nobody writes a base that others read. A lock lasts exactly
//     as long as the image is open and leaves nothing behind when the process is killed.
//   - The size of an image is fixed while it is open: no file grows beyond the size it was opened with.
//   - A file is taken for what its content says: a qcow2 image is refused as a raw one.
package disk
