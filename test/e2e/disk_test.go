package e2e

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// diskFile makes a disk image of noise and returns its path and content.
func diskFile(t *testing.T, name string, size int64) (path string, content []byte) {
	t.Helper()
	content, err := io.ReadAll(noise(size))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func TestDisks(t *testing.T) {
	h := newHost(t)
	written, data := diskFile(t, "written.img", 3<<20)
	read, readData := diskFile(t, "read.img", 1<<20+512)
	shrunk, _ := diskFile(t, "shrunk.img", 4<<20)
	const vm = "disks"
	h.talk(t, "run", "--kernel", kernel("6.12"), "--rootfs", image, "--overlay", "--mem-mb", "256", "--name", vm,
		"--block", written, "--block", read+",ro", "--block", shrunk)
	h.awaitReady(t, vm)
	if sizes := h.sh(t, vm, "cat /sys/block/vd[bcd]/size /sys/block/vd[bcd]/ro"); sizes != "6144\n2049\n8192\n0\n1\n0" {
		t.Errorf("sizes and read-only flags are %q", sizes)
	}

	// The same bytes, buffered and direct, up to an odd last sector.
	for dev, path := range map[string]string{"vdb": written, "vdc": read} {
		for _, how := range []string{"bs=64k", "bs=64k iflag=direct"} {
			got := strings.Fields(h.sh(t, vm, "dd if=/dev/"+dev+" status=none "+how+" | sha256sum"))
			if got[0] != fileSum(t, path) {
				t.Errorf("/dev/%s read with %s differs from its image", dev, how)
			}
		}
	}

	// What the guest has flushed is in the file, at its place.
	h.sh(t, vm, "head -c 1048576 /dev/zero | tr '\\0' A | dd of=/dev/vdb bs=64k seek=16 oflag=direct status=none"+
		" && printf buffered | dd of=/dev/vdb bs=1 seek=5000 conv=fsync status=none")
	for i := 1 << 20; i < 2<<20; i++ {
		data[i] = 'A'
	}
	copy(data[5000:], "buffered")
	sameBytes(t, written, data)

	// A read-only disk is that.
	r := h.run(limit, nil, "exec", "--vm-id", vm, "--", "sh", "-c", "printf x | dd of=/dev/vdc conv=fsync,notrunc")
	if r.status != 1 || !strings.Contains(r.err, "Operation not permitted") && !strings.Contains(r.err, "Read-only") {
		t.Errorf("writing to a read-only disk: %+v", r)
	}
	sameBytes(t, read, readData)

	// Nobody else gets an image that is written; one that is only read, everybody.
	h.fails(t, "in use", small(t, "--block", written)...)
	h.fails(t, "in use", small(t, "--block", written+",ro")...)
	h.fails(t, "in use", small(t, "--block", read)...)
	other := h.bootSmall(t, "--block", read+",ro")
	h.sh(t, other, "read line < /dev/vdb; :")

	// A file that shrinks under a VM gives I/O errors, not a dead VM.
	if err := os.Truncate(shrunk, 1<<20); err != nil {
		t.Fatal(err)
	}
	r = h.run(limit, nil, "exec", "--vm-id", vm, "--", "dd", "if=/dev/vdd", "of=/dev/null", "bs=1M", "iflag=direct")
	if r.status != 1 || !strings.Contains(r.err, "Input/output error") {
		t.Errorf("reading what is no longer there: %+v", r)
	}
	h.sh(t, vm, "dd if=/dev/vdd of=/dev/null bs=1M count=1 iflag=direct status=none && dd if=/dev/vdb of=/dev/null bs=1M iflag=direct status=none")
}
