package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// configFiles are written into a fresh Debian.
var configFiles = []struct{ path, content string }{
	// No root line: the initrd mounted root as it was asked to, and fsck and
	// remounting have nothing to do.
	{"etc/fstab", "# The root file system is mounted by Clone's initrd.\n"},
	{"etc/hostname", "clone\n"},
	{"etc/hosts", "127.0.0.1 localhost\n127.0.1.1 clone\n::1 localhost ip6-localhost ip6-loopback\n"},
	// debootstrap copied the builder's.
	{"etc/resolv.conf", ""},
	// Empty, not missing: each VM makes its own without the whole of systemd's
	// first-boot presets (machine-id(5), "First Boot Semantics").
	{"etc/machine-id", ""},
	// systemd-getty-generator starts the unit for console=ttyS0. Whoever
	// reaches this console owns the VM: a password would protect nothing.
	{"etc/systemd/system/serial-getty@.service.d/autologin.conf",
		"[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200,57600,38400,9600 - $TERM\n"},
	// The journal of a fork goes away with it, and costs its disk no page.
	{"etc/systemd/journald.conf.d/clone.conf", "[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n"},
	// Each of them wakes up once a minute to tell systemd that it lives, and both write pages for it in every idle fork.
	{"etc/systemd/system/systemd-journald.service.d/clone.conf", noWatchdog},
	{"etc/systemd/system/systemd-udevd.service.d/clone.conf", noWatchdog},
	{"etc/systemd/system/systemd-logind.service.d/clone.conf", noWatchdog},
	{"etc/sysctl.d/60-clone.conf", idleSysctls},
}

// idleSysctls have the kernel of an idle VM wake up less often: a host has many of them.
const idleSysctls = `# An idle VM is to cost its host little: this kernel looks after itself less often.
# Memory is compacted when it is needed, and not twice a second in advance.
vm.compaction_proactiveness = 0
# Counters in /proc/vmstat are up to this many seconds old.
vm.stat_interval = 10
# A vCPU that does not run for long is the host's doing.
kernel.watchdog = 0
`

const noWatchdog = "[Service]\nWatchdogSec=0\n"

// maskedUnits wait for what a VM may not have, or wake up to do what a VM that
// lives for minutes does not need.
var maskedUnits = []string{
	"systemd-networkd-wait-online.service", "NetworkManager-wait-online.service", "systemd-udev-settle.service",
	"getty@tty1.service",                // there is no screen
	"proc-sys-fs-binfmt_misc.automount", // needs autofs, a module the image does not have
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
	"e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "man-db.timer", "logrotate.timer",
	// One timer is enough for systemd to reckon anew, and to tell dbus and logind of it, when a fork's clock is set: 150 pages.
	"systemd-tmpfiles-clean.timer",
}

// emptiedDirs hold only what can be fetched or logged again.
var emptiedDirs = []string{"var/cache/apt", "var/lib/apt/lists", "var/log", "tmp", "var/tmp"}

// settle turns debootstrap's tree into a machine that boots without waiting.
func settle(dir string) (err error) {
	// The tree's own links are followed inside it only: packages of an
	// untrusted mirror cannot make us write elsewhere.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, f := range configFiles {
		if err := replaceFile(root, f.path, f.content); err != nil {
			return err
		}
	}
	if err := root.MkdirAll("etc/systemd/system", 0o755); err != nil {
		return err
	}
	for _, unit := range maskedUnits {
		link := filepath.Join("etc/systemd/system", unit)
		if err := root.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := root.Symlink("/dev/null", link); err != nil {
			return err
		}
	}
	for _, d := range emptiedDirs {
		if err := removeFiles(root, d); err != nil {
			return err
		}
	}
	// A machine-id of D-Bus's own would survive the empty one above.
	if err := root.Remove("var/lib/dbus/machine-id"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// replaceFile writes a new file, never through a link that was there.
func replaceFile(root *os.Root, path, content string) error {
	if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := root.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := root.WriteFile(path, []byte(content), 0o644); err != nil {
		return err
	}
	// Whatever the builder's umask is.
	return root.Chmod(path, 0o644)
}

// removeFiles deletes every file below dir and keeps the directories, which
// packages made with owners and modes that they rely on.
func removeFiles(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = removeFiles(root, path)
		} else {
			err = root.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("empty /%s: %w", dir, err)
		}
	}
	return nil
}
