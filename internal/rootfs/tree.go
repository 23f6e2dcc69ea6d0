package rootfs

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// treeSize is what a directory tree needs in an ext4 file system.
type treeSize struct {
	bytes  int64 // file content and directories, in whole 4 KiB blocks, holes left out
	inodes int64
}

const blockBytes = 4096

// measure walks dir. Another file system mounted inside is refused: mke2fs
// would copy it, and a live /proc has no end.
func measure(ctx context.Context, dir string) (treeSize, error) {
	var size treeSize
	var device uint64
	seen := map[uint64]bool{} // inodes with several names
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: no stat data", path)
		}
		if path == dir {
			device = st.Dev
		} else if st.Dev != device {
			return fmt.Errorf("%s is another file system mounted inside: unmount it, or copy the tree without it", path)
		}
		if st.Nlink > 1 && !d.IsDir() {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		size.inodes++
		// An allocated block is 512 bytes in stat(2). Compressing file systems
		// allocate less than ext4 will, and sparse files less than their length.
		need := roundUp(info.Size(), blockBytes)
		if allocated := st.Blocks * 512; allocated > 0 && isSparse(info.Size(), allocated) {
			need = roundUp(allocated, blockBytes)
		}
		size.bytes += max(need, blockBytes)
		return nil
	})
	if err != nil {
		return treeSize{}, fmt.Errorf("measure %s: %w", dir, err)
	}
	return size, nil
}

// isSparse tells a file with real holes from one a host compressed: only where
// most of it is missing is the allocation believed.
func isSparse(length, allocated int64) bool { return length > 1<<20 && allocated < length/8 }

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// inside reports whether path lies in dir; both are absolute and clean, with
// symbolic links resolved.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
