package boot

import (
	"fmt"
	"strings"
)

// CmdlineSlot is a virtio-mmio register window of Size bytes at guest-physical address Base, and its interrupt.
type CmdlineSlot struct {
	Base uint64
	Size uint64
	GSI  uint32
}

// parameter is a default, and why.
type parameter struct{ text, why string }

var defaults = []parameter{
	{"console=ttyS0", "the serial port is the only console; systemd starts a getty on it because of this"},
	{"quiet", "each byte on the serial port costs an exit; warnings and worse still appear, and dmesg has everything"},
	{"reboot=k", "reboot through the keyboard controller: one write, and not a triple fault, which would look like a crash"},
	{"panic=-1", "a panic reboots at once, which ends the VM: nobody presses a key"},
	{"8250.nr_uarts=1", "one serial port: do not probe for three more"},
	{"i8042.nokbd", "there is no keyboard: without ACPI (which says so) a probe would wait for one"},
	{"i8042.noaux", "nor a mouse"},
	{"tsc=reliable", "kvm-clock keeps the time: no watchdog that wakes each idle guest twice a second, to compare the TSC " +
		"with a PM timer and call it unstable after a pause"},
	{"random.trust_cpu=on", "seed from RDRAND: the first getrandom does not wait"},
	{"random.trust_bootloader=on", "and from the seed in the zero page, where there is no RDRAND"},
	{"no_timer_check", "KVM's timer works; on a busy host the check can miss its ticks, and panic. Linux' KVM support skips it itself"},
	{"pci=off", "there is no PCI bus: do not look for one through ports 0xcf8 and 0xcfc"},
	{"cryptomgr.notests", "the self-tests of the ciphers take their time at every boot"},
}

// DefaultCmdline returns the defaults alone.
func DefaultCmdline() string { return Cmdline("", nil) }

// Cmdline returns the command line for a machine: the defaults, then user, which wins. A default is left out where user names
// the same parameter, because some parameters add up and cannot be taken back (pci=, console=).
//
// slots are the virtio-mmio slots that have a device. If user has acpi=off, the guest cannot find them in the DSDT, and they
// are put on the command line. (Stock Debian kernels do not read them there.)
func Cmdline(user string, slots []CmdlineSlot) string {
	given := map[string]string{}
	for _, word := range splitCmdline(user) {
		key, value, _ := strings.Cut(word, "=")
		given[normal(key)] = value
	}
	var words []string
	for _, p := range defaults {
		key, _, _ := strings.Cut(p.text, "=")
		if _, overridden := given[normal(key)]; !overridden {
			words = append(words, p.text)
		}
	}
	if given["acpi"] == "off" {
		for _, s := range slots {
			words = append(words, fmt.Sprintf("virtio_mmio.device=%#x@%#x:%d", s.Size, s.Base, s.GSI))
		}
	}
	if user = strings.TrimSpace(user); user != "" {
		words = append(words, user)
	}
	return strings.Join(words, " ")
}

// normal is a parameter's name as the kernel compares it.
func normal(key string) string { return strings.ReplaceAll(strings.TrimPrefix(key, `"`), "-", "_") }

// splitCmdline splits at spaces that are not in double quotes, as the kernel does, up to a lone "--": what follows is init's.
func splitCmdline(s string) []string {
	quoted := false
	words := strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t')
	})
	for i, w := range words {
		if w == "--" {
			return words[:i]
		}
	}
	return words
}
