package bootconf

import (
	"errors"
	"strings"
)

// Paths in the initrd.
const (
	InitPath    = "/init"         // clone-init
	AgentPath   = "/clone-agent"  // the guest agent
	ConfigPath  = "/clone.conf"   // Config
	ListPath    = "/modules.list" // []Module
	ModuleDir   = "/modules"      // the module files
	MaxFileSize = 64 << 10        // bytes of a configuration or list file
)

// RootMode says what becomes the root file system.
type RootMode string

// The root modes.
const (
	// RootNone keeps the initrd: PID 1 starts the agent and reaps.
	RootNone RootMode = "none"
	// RootReadWrite mounts the root disk for writing.
	RootReadWrite RootMode = "rw"
	// RootReadOnly mounts it read-only.
	RootReadOnly RootMode = "ro"
	// RootOverlay mounts it read-only under a writable layer in guest RAM.
	RootOverlay RootMode = "overlay"
)

// Config is what PID 1 of the initrd is told. The key of each field, in the
// file and after "clone." on the kernel command line, is given behind it.
type Config struct {
	Root       RootMode // root; empty means none
	RootDevice string   // root.device, such as /dev/vda
	RootFSType string   // root.fstype; empty means by superblock
	Init       string   // init: the program to run; empty means the usual ones
	Hostname   string   // hostname; empty leaves the kernel's
}

// fields pairs every key with its field, in the order of the file.
func (c *Config) fields() []field {
	return []field{
		{"root", (*string)(&c.Root)},
		{"root.device", &c.RootDevice},
		{"root.fstype", &c.RootFSType},
		{"init", &c.Init},
		{"hostname", &c.Hostname},
	}
}

type field struct {
	key   string
	value *string
}

// Set gives the field of key a value. It reports whether there is such a key.
func (c *Config) Set(key, value string) bool {
	for _, f := range c.fields() {
		if f.key == key {
			*f.value = value
			return true
		}
	}
	return false
}

// Encode returns the file's text: KEY=VALUE lines. Empty fields are left out.
func (c Config) Encode() string {
	var b strings.Builder
	for _, f := range c.fields() {
		if *f.value != "" {
			b.WriteString(f.key + "=" + *f.value + "\n")
		}
	}
	return b.String()
}

// ParseConfig reads what Encode wrote. Empty lines and those that start with #
// are skipped.
func ParseConfig(text string) (Config, error) {
	var c Config
	if len(text) > MaxFileSize {
		return c, errors.New("configuration is too long")
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return c, errors.New("configuration line without '=': " + line)
		}
		if !c.Set(key, value) {
			return c, errors.New("configuration key " + key + " is not known")
		}
	}
	return c, nil
}

// maxHostname is the kernel's __NEW_UTS_LEN.
const maxHostname = 64

// Validate reports the first thing that is wrong with c.
func (c Config) Validate() error {
	for _, f := range c.fields() {
		if strings.ContainsAny(*f.value, "\n\x00") {
			return errors.New(f.key + " has a line break or a NUL in it")
		}
	}
	switch c.Root {
	case "", RootNone, RootReadWrite, RootReadOnly, RootOverlay:
	default:
		return errors.New("root mode " + string(c.Root) + " is not one of none, rw, ro, overlay")
	}
	if c.HasRoot() && !IsDevice(c.RootDevice) {
		return errors.New("root device \"" + c.RootDevice + "\" is not a name in /dev")
	}
	if c.Init != "" && c.Init[0] != '/' {
		return errors.New("init program " + c.Init + " is not an absolute path")
	}
	if len(c.Hostname) > maxHostname {
		return errors.New("hostname is longer than 64 bytes: " + c.Hostname)
	}
	return nil
}

// HasRoot reports whether there is a root disk.
func (c Config) HasRoot() bool { return c.Root != "" && c.Root != RootNone }

// IsDevice reports whether path names a device directly in /dev.
func IsDevice(path string) bool {
	name, ok := strings.CutPrefix(path, "/dev/")
	return ok && name != "" && name != "." && name != ".." && !strings.Contains(name, "/")
}
