package rootfs

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// DefaultSuite is the Debian release built when Options names none.
const DefaultSuite = "bookworm"

// MinSizeBytes is the smallest image made: less leaves ext4 no journal.
const MinSizeBytes = 16 << 20

// Options says what image to build. Exactly one of FromDir and Distro is set.
type Options struct {
	// Output is the path of the image. Its directory must exist.
	Output string
	// Replace allows Output to exist already. VMs that hold the old image
	// open keep it.
	Replace bool

	// FromDir is a directory whose content becomes the root file system. The
	// root directory itself becomes 0755 root:root, whatever FromDir is.
	FromDir string

	// Distro is "debian".
	Distro string
	// Suite is the release of Distro; empty means DefaultSuite.
	Suite string
	// Mirror is the URL of an archive; empty means debootstrap's own default.
	Mirror string
	// Include lists packages to install besides the base.
	Include []string

	// SizeBytes is the size of the file system; 0 takes the content and
	// leaves half a GiB free. The file is sparse: free space costs nothing.
	SizeBytes int64
}

// Step names a stage of Create.
type Step string

// The stages, in order. A directory source starts at StepMeasure.
const (
	StepBootstrap Step = "bootstrap"
	StepConfigure Step = "configure"
	StepMeasure   Step = "measure"
	StepWrite     Step = "write"
	StepDone      Step = "done"
)

// Event is one line of progress.
type Event struct {
	Step   Step
	Detail string
}

// Patterns of names. They are compiled when they are used: every start of the program would wait for it.
const (
	suiteName   = `^[a-z][a-z0-9.-]*$`
	packageName = `^[a-z0-9][a-z0-9+.-]+$` // Debian policy §5.6.1
)

func matches(pattern, name string) bool { return regexp.MustCompile(pattern).MatchString(name) }

// check refuses what cannot be built and fills in defaults.
func (o *Options) check() error {
	if o.Output == "" {
		return errors.New("no output file: name one with -o FILE")
	}
	if (o.FromDir == "") == (o.Distro == "") {
		return errors.New("give either --from-dir DIR or --distro debian")
	}
	if o.SizeBytes != 0 && o.SizeBytes < MinSizeBytes {
		return fmt.Errorf("a size of %d bytes is too small for ext4: give at least %d MiB", o.SizeBytes, MinSizeBytes>>20)
	}
	if o.FromDir != "" {
		if o.Suite != "" || o.Mirror != "" || len(o.Include) > 0 {
			return errors.New("--suite, --mirror and --include go with --distro, not with --from-dir")
		}
		return nil
	}
	if o.Distro != "debian" {
		return fmt.Errorf("distribution %q is not known: only debian is; unpack others into a directory and use --from-dir", o.Distro)
	}
	if o.Suite == "" {
		o.Suite = DefaultSuite
	}
	if !matches(suiteName, o.Suite) {
		return fmt.Errorf("suite %q is not a release name such as bookworm or trixie", o.Suite)
	}
	if o.Mirror != "" {
		u, err := url.Parse(o.Mirror)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file") || strings.ContainsAny(o.Mirror, " \t\n") {
			return fmt.Errorf("mirror %q is not an http, https or file URL", o.Mirror)
		}
	}
	for _, p := range o.Include {
		if !matches(packageName, p) {
			return fmt.Errorf("%q is not a Debian package name", p)
		}
	}
	return nil
}
