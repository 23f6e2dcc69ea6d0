package testhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// hostVersion is the version of the emulated host's own kernel. It must have
// VIRTIO_FS and VIRTIO_CONSOLE built in, as Debian's cloud kernels do from 6.12 on.
const hostVersion = "6.12"

// hostModules make a KVM host of that kernel, with the root overlay and what
// guests' networks need.
var hostModules = []string{"overlay", "kvm-amd", "vhost_vsock", "vhost_net", "tun"}

// hostLayout is part of the directory's name in the cache, and changes with
// whatever unpackHostKernel puts there.
const hostLayout = "1"

// maxUnpacked bounds an unpacked kernel or module, in bytes.
const maxUnpacked = 256 << 20

// A hostKernel is a kernel with everything unpacked that would otherwise be
// unpacked and checked on an emulated processor: nearly three seconds of each boot.
type hostKernel struct {
	kernelDir string   // where FetchKernel put it
	image     string   // vmlinux, with a PVH entry point
	modules   []string // files, in the order of loading
}

// fetchHostKernel fetches the kernel and unpacks it into the cache, where that
// has not been done before.
func fetchHostKernel(ctx context.Context, cacheDir string, log io.Writer) (hostKernel, error) {
	kernelDir, err := FetchKernel(ctx, cacheDir, hostVersion, log)
	if err != nil {
		return hostKernel{}, err
	}
	modulesDir, err := onlyMatch(filepath.Join(kernelDir, "lib", "modules", "*"))
	if err != nil {
		return hostKernel{}, err
	}
	parent := filepath.Join(cacheDir, "host")
	dir := filepath.Join(parent, filepath.Base(modulesDir)+"-"+hostLayout)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return hostKernel{}, err
	}
	held, err := lock(ctx, parent)
	if err != nil {
		return hostKernel{}, err
	}
	defer held.Close()
	if !exists(dir) {
		if err := unpackHostKernel(kernelDir, modulesDir, dir); err != nil {
			return hostKernel{}, fmt.Errorf("unpack the emulated host's kernel: %w", err)
		}
	}
	modules, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	return hostKernel{kernelDir, filepath.Join(dir, "vmlinux"), modules}, err
}

// unpackHostKernel fills dir, which appears complete or not at all: vmlinux, and
// modules whose names sort in the order of loading.
func unpackHostKernel(kernelDir, modulesDir, dir string) error {
	aside, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	bzImage, err := os.ReadFile(filepath.Join(kernelDir, "vmlinuz"))
	if err != nil {
		return err
	}
	vmlinux, err := unpackImage(bzImage)
	if err != nil {
		return fmt.Errorf("vmlinuz: %w", err)
	}
	if err := os.WriteFile(filepath.Join(aside, "vmlinux"), vmlinux, 0o644); err != nil {
		return err
	}
	dep, err := os.ReadFile(filepath.Join(modulesDir, "modules.dep"))
	if err != nil {
		return err
	}
	files, err := loadOrder(string(dep), hostModules)
	if err != nil {
		return err
	}
	for i, file := range files {
		packed, err := os.ReadFile(filepath.Join(modulesDir, file))
		if err != nil {
			return err
		}
		module, err := unpack(packed)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		name := fmt.Sprintf("%02d-%s.ko", i, moduleName(file))
		if err := os.WriteFile(filepath.Join(aside, name), withoutSignature(module), 0o644); err != nil {
			return err
		}
	}
	return os.Rename(aside, dir)
}

// loadOrder returns the files of the named modules and of those that they depend
// on, each after its dependencies, as modules.dep lists them.
func loadOrder(dep string, names []string) ([]string, error) {
	lines := map[string][]string{} // module name → its file, then those it needs
	for line := range strings.Lines(dep) {
		if file, needs, ok := strings.Cut(line, ":"); ok {
			lines[moduleName(file)] = append([]string{file}, strings.Fields(needs)...)
		}
	}
	var order []string
	listed := map[string]bool{}
	for _, name := range names {
		files := lines[name]
		if files == nil {
			return nil, fmt.Errorf("modules.dep does not know %s", name)
		}
		// depmod lists a dependency after what depends on it.
		for i := len(files) - 1; i >= 0; i-- {
			if !listed[files[i]] {
				listed[files[i]] = true
				order = append(order, files[i])
			}
		}
	}
	return order, nil
}

// signatureMark ends a signed module (Linux include/linux/module_signature.h).
const signatureMark = "~Module signature appended~\n"

// withoutSignature makes the kernel take the module for an unsigned one, so that
// it does not spend half a second on hashing them all. What comes before the mark
// is outside the ELF file's sections and ignored.
func withoutSignature(module []byte) []byte {
	return bytes.TrimSuffix(module, []byte(signatureMark))
}

// moduleName is a module's file name without directory and suffixes.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return name
}

// Offsets in a bzImage's setup header (Linux x86 boot protocol 2.08).
const (
	offSetupSects    = 0x1f1
	offMagic         = 0x202
	offPayloadOffset = 0x248
	offPayloadLength = 0x24c
)

// unpackImage returns the ELF kernel inside a bzImage.
func unpackImage(bzImage []byte) ([]byte, error) {
	if len(bzImage) < offPayloadLength+4 || string(bzImage[offMagic:offMagic+4]) != "HdrS" {
		return nil, errors.New("it is no bzImage")
	}
	protectedMode := (int64(bzImage[offSetupSects]) + 1) * 512
	start := protectedMode + int64(binary.LittleEndian.Uint32(bzImage[offPayloadOffset:]))
	end := start + int64(binary.LittleEndian.Uint32(bzImage[offPayloadLength:]))
	// The payload ends with its unpacked size in 4 bytes.
	if end > int64(len(bzImage)) || end-start < 4 {
		return nil, errors.New("its payload is cut off")
	}
	vmlinux, err := unpack(bzImage[start : end-4])
	if err != nil {
		return nil, err
	}
	if size := binary.LittleEndian.Uint32(bzImage[end-4:]); int64(size) != int64(len(vmlinux)) {
		return nil, fmt.Errorf("it unpacks to %d bytes, not %d", len(vmlinux), size)
	}
	return vmlinux, nil
}

// unpack returns what packed holds, which is packed with xz or zstd, or plain ELF.
func unpack(packed []byte) ([]byte, error) {
	var r io.Reader
	switch {
	case bytes.HasPrefix(packed, []byte("\x7fELF")):
		return packed, nil
	case bytes.HasPrefix(packed, []byte("\xfd7zXZ\x00")):
		x, err := xz.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		r = x
	case bytes.HasPrefix(packed, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	default:
		return nil, fmt.Errorf("it is packed with neither xz nor zstd: it begins with % x", packed[:min(6, len(packed))])
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err != nil {
		return nil, err
	}
	if len(plain) > maxUnpacked {
		return nil, fmt.Errorf("it unpacks to more than %d bytes", maxUnpacked)
	}
	return plain, nil
}
