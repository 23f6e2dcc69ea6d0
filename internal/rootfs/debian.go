package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// debianKeyring signs Debian's archive. It is always checked: over plain http
// it is all that tells Debian's packages from a stranger's.
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// debianBase is what a machine needs besides debootstrap's minimal base:
// systemd with its device manager, a bus for logind (which answers the power
// button), and the tools for looking around.
var debianBase = []string{"systemd", "systemd-sysv", "udev", "dbus", "iproute2", "procps"}

// bootstrapDebian makes dir a Debian that boots under Clone.
func bootstrapDebian(ctx context.Context, o Options, dir string, progress func(Event)) error {
	from := o.Mirror
	if from == "" {
		from = "debootstrap's default mirror"
	}
	progress(Event{StepBootstrap, fmt.Sprintf("Debian %s from %s", o.Suite, from)})
	var complaints []string
	err := run(ctx, command{
		name: "debootstrap", args: debootstrapArgs(o, dir), contained: true,
		line: func(l string) {
			if strings.HasPrefix(l, "W:") || strings.HasPrefix(l, "E:") {
				complaints = append(complaints, l)
			}
			progress(Event{StepBootstrap, strings.TrimPrefix(l, "I: ")})
		},
	})
	if err != nil {
		return bootstrapError(o.Suite, dir, err, complaints)
	}
	progress(Event{StepConfigure, "serial console, machine identity, services"})
	if err := settle(dir); err != nil {
		return fmt.Errorf("configure the new system: %w", err)
	}
	return nil
}

// debootstrapArgs returns debootstrap's command line.
func debootstrapArgs(o Options, dir string) []string {
	args := []string{
		"--variant=minbase", "--force-check-gpg", "--keyring=" + debianKeyring,
		"--include=" + strings.Join(append(append([]string{}, debianBase...), o.Include...), ","),
		o.Suite, dir,
	}
	if o.Mirror != "" {
		args = append(args, o.Mirror)
	}
	return args
}

// bootstrapError says what debootstrap complained about, rather than what it
// printed last, and what its log has on packages that did not install.
func bootstrapError(suite, dir string, err error, complaints []string) error {
	var failed *toolError
	if !errors.As(err, &failed) {
		return err // cancelled, or debootstrap never ran
	}
	said := *failed
	if len(complaints) > 0 {
		said.last = complaints
	}
	if log, lerr := os.Open(filepath.Join(dir, "debootstrap", "debootstrap.log")); lerr == nil {
		said.last = append(said.last, readLines(log, nil)...)
		log.Close()
	}
	return fmt.Errorf("bootstrap Debian %s: %w%s", suite, &said, advice(complaints))
}

// advice turns debootstrap's own complaints into what to do next.
func advice(complaints []string) string {
	all := strings.Join(complaints, "\n")
	switch {
	case strings.Contains(all, "Couldn't find these debs"), strings.Contains(all, "Couldn't download packages"):
		return " (is every --include name a package of this suite?)"
	case strings.Contains(all, "Failed getting release"), strings.Contains(all, "Invalid Release"):
		return " (is there a network, and does the mirror carry this suite?)"
	case strings.Contains(all, "No such script"):
		return " (this debootstrap is older than the suite: choose another --suite or a newer debootstrap)"
	}
	return ""
}
