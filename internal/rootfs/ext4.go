package rootfs

import (
	"context"
	"fmt"
	"os"
	"strconv"
)

const (
	freeBytes  = 512 << 20 // free space of an image whose size the user left to us
	sizeUnit   = 64 << 20
	inodeRatio = 16384 // mke2fs's default bytes per inode
)

// imageSize returns the size of an image for a tree: the wanted one, or one
// that holds the tree with freeBytes to spare.
func imageSize(tree treeSize, want int64) int64 {
	if want != 0 {
		return want / blockBytes * blockBytes
	}
	// A tenth for extents, bitmaps and directories' indexes, and the inodes.
	need := tree.bytes + tree.bytes/10 + tree.inodes*256 + freeBytes
	return roundUp(need, sizeUnit)
}

// writeExt4 makes image, a sparse ext4 file system of size bytes with the
// content of dir.
func writeExt4(ctx context.Context, image, dir string, tree treeSize, size int64, line func(string)) error {
	// 0600: a tree may hold keys and password hashes that only root reads.
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("make a file of %d MiB: %w", size>>20, err)
	}
	inodes := max(size/inodeRatio, tree.inodes+tree.inodes/4+1024)
	args := []string{
		"-q", "-F", "-t", "ext4", "-b", strconv.Itoa(blockBytes), "-m", "0",
		"-N", strconv.FormatInt(inodes, 10), "-L", "clone-root",
		// Nothing is left for the guest to initialise later: its writes
		// would allocate the sparse file, in each guest anew.
		"-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0",
		"-d", dir, image,
	}
	if err := run(ctx, command{name: "mke2fs", args: args, line: line}); err != nil {
		return fmt.Errorf("write the file system: %w", err)
	}
	// Releases of mke2fs differ in what the root directory's mode is.
	args = []string{"-w", "-R", "set_inode_field / mode 040755", image}
	if err := run(ctx, command{name: "debugfs", args: args}); err != nil {
		return fmt.Errorf("set the root directory's mode: %w", err)
	}
	return nil
}
