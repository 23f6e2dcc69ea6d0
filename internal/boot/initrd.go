package boot

import (
	"fmt"

	"clone/internal/x86"
)

// placeInitrd returns where an initrd of size bytes goes: as high as the kernel and the RAM below the device hole allow, so
// that a kernel which unpacks or moves itself has room, at the start of a page.
func placeInitrd(k *kernel, size, ramSize uint64) (addr uint64, err error) {
	if size == 0 {
		return 0, nil
	}
	limit := min(x86.LowRAM(ramSize), k.initrdMax+1)
	end := k.end()
	if size <= limit && (limit-size)&^0xfff >= end {
		return (limit - size) &^ 0xfff, nil
	}
	if need := end + size + 0xfff; need <= min(x86.LowRAMEnd, k.initrdMax+1) {
		return 0, fmt.Errorf("an initrd of %s does not fit beside the kernel in %s of RAM: give the machine %d MiB or more (--mem-mb)",
			mib(size), mib(ramSize), roundMiB(need))
	}
	return 0, fmt.Errorf("an initrd of %s is too large: this kernel takes one that ends below %#x", mib(size), limit)
}

func roundMiB(n uint64) uint64 { return (n + 1<<20 - 1) >> 20 }

// mib prints a size for a message.
func mib(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
