package e2e

import (
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The exit status of clone run tells how the guest ended.
func TestEnds(t *testing.T) {
	for name, test := range map[string]struct {
		flags  []string
		end    string
		status int
		says   string
	}{
		"power off":    {nil, "/guestprog poweroff", 0, ""},
		"reboot":       {nil, "/guestprog reboot", 3, "clone: the guest asked for a reset"},
		"panic":        {nil, "echo c > /proc/sysrq-trigger", 3, "Kernel panic - not syncing"},
		"triple fault": {[]string{"--cmdline", "reboot=t"}, "/guestprog reboot", 4, "triple fault"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			k := h.talk(t, small(t, append(test.flags, "--name", "ending")...)...)
			h.awaitReady(t, "ending")
			r := h.run(limit, nil, "exec", "--vm-id", "ending", "--", "sh", "-c", test.end)
			if r.status != 125 || !strings.Contains(r.err, "it ended while the command ran") {
				t.Errorf("exec in a VM that ends: %+v", r)
			}
			k.ended(t, test.status)
			if !strings.Contains(k.shown(), test.says) {
				t.Errorf("it does not say %q", test.says)
			}
			h.nothingLeft(t)
		})
	}
}

// A detached VM that ends leaves nothing, and the next command says what is so.
func TestDetachedVMEnds(t *testing.T) {
	h := newHost(t)
	vm := h.bootSmall(t, "--name", "gone")
	if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(vm) {
		t.Errorf("run --detach prints %q, want the id alone", vm)
	}
	h.run(limit, nil, "exec", "gone", "--", "/guestprog", "poweroff")
	await(t, "the VM is gone", func() bool { return h.ok(t, "list", "--json") == "[]" })
	h.nothingLeft(t)
	h.fails(t, "no such VM", "exec", "--vm-id", "gone", "--", "true")
}

// The power button is Debian's sign to shut down. Nobody hears it before logind has opened the input device, which udev
// shows it some time after systemd calls itself running.
func TestPowerButton(t *testing.T) {
	h := newHost(t)
	vm := h.boot(t, "--mem-mb", "256")
	h.awaitSystemd(t, vm)
	await(t, "logind watches the button", func() bool {
		return strings.Contains(h.exec(t, vm, "journalctl", "-b", "-u", "systemd-logind", "--no-pager"), "Watching system buttons")
	})
	if err := h.controlOf(vm).PowerButton(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the guest has shut down", func() bool { return h.ok(t, "list", "--json") == "[]" })
}

func TestClockAndGenerationID(t *testing.T) {
	h, vm := standingVM(t)
	before := time.Now()
	rtc := h.sh(t, vm, "cat /sys/class/rtc/rtc0/date /sys/class/rtc/rtc0/time")
	at, err := time.Parse("2006-01-02\n15:04:05", rtc)
	if err != nil {
		t.Fatal(err)
	}
	if off := at.Sub(before).Seconds(); math.Abs(off) > 2+time.Since(before).Seconds() {
		t.Errorf("the real-time clock is %.1f s off", off)
	}
	if devices := h.sh(t, vm, "cd /sys/bus/acpi/devices; ls -d VMGENCTR* VMGENID* 2>/dev/null; ls /sys/bus/*/drivers/vmgenid"); !strings.Contains(devices, ":00") {
		t.Errorf("there is no VM generation id: %q", devices)
	}
}
