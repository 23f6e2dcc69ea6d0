package testhost

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clone/internal/testhost/inside"
)

// DefaultMemoryMiB is the emulated host's memory when [Config] names none. It is
// reserved lazily: a host costs what it touches.
const DefaultMemoryMiB = 4096

// minMemoryMiB is what the host's kernel and its overlay need to start at all.
const minMemoryMiB = 512

// Config says which command to run and in what surroundings. The zero value of
// every field but Command is usable.
type Config struct {
	Command []string // program and arguments; the program is looked up in PATH
	Dir     string   // working directory, always writable through; default: the current one
	Env     []string // further KEY=VALUE, after those that [PassedEnv] selects

	MemoryMiB int           // emulated host's memory; default DefaultMemoryMiB
	Timeout   time.Duration // from start to the command's end, boot included; 0: none
	Writable  []string      // further directories whose changes reach this machine
	QEMUArgs  []string      // further QEMU arguments, such as a device to pass through

	Emulated bool // use the emulated host even where hardware would do

	Stdin  io.Reader // nil: /dev/null
	Stdout io.Writer // nil: discarded
	Stderr io.Writer // nil: discarded
	Log    io.Writer // what is being done, for a person; nil: discarded

	CacheDir string // kernels and run directories; default [CacheDir]()

	// Init is the program that becomes process 1 of the emulated host: a static
	// one whose main or TestMain calls inside.Main when inside.IsInit reports
	// true. Default: the running program.
	Init string
}

// complete returns a copy with defaults filled in and paths made absolute, or an
// error that says what is wrong with cfg.
func (cfg Config) complete() (Config, error) {
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		return cfg, errors.New("no command given")
	}
	for _, e := range cfg.Env {
		if i := strings.IndexByte(e, '='); i <= 0 {
			return cfg, fmt.Errorf("environment entry %q is not KEY=VALUE", e)
		}
	}
	if cfg.MemoryMiB == 0 {
		cfg.MemoryMiB = DefaultMemoryMiB
	}
	if cfg.MemoryMiB < minMemoryMiB {
		return cfg, fmt.Errorf("%d MiB is too little memory for a host: give it %d or more", cfg.MemoryMiB, minMemoryMiB)
	}
	if cfg.Timeout < 0 {
		return cfg, fmt.Errorf("negative timeout %s", cfg.Timeout)
	}
	for _, w := range []*io.Writer{&cfg.Stdout, &cfg.Stderr, &cfg.Log} {
		if *w == nil {
			*w = io.Discard
		}
	}
	var err error
	if cfg.CacheDir == "" {
		if cfg.CacheDir, err = CacheDir(); err != nil {
			return cfg, err
		}
	}
	if cfg.CacheDir, err = filepath.Abs(cfg.CacheDir); err != nil {
		return cfg, err
	}
	if cfg.Init == "" {
		if cfg.Init, err = os.Executable(); err != nil {
			return cfg, err
		}
	}
	if cfg.Dir, err = directory(cfg.Dir); err != nil {
		return cfg, err
	}
	writable := []string{cfg.Dir}
	for _, w := range cfg.Writable {
		if w, err = directory(w); err != nil {
			return cfg, err
		}
		writable = append(writable, w)
	}
	// Sorted, a directory comes before those inside it, which is the order in
	// which they must be mounted.
	slices.Sort(writable)
	cfg.Writable = slices.Compact(writable)
	if cfg.Writable[0] == "/" {
		return cfg, errors.New("the root directory cannot be writable through: name a directory below it")
	}
	return cfg, nil
}

// directory returns dir (the current directory when empty) absolute and without
// symbolic links, so that it names the same place below another root.
func directory(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return "", fmt.Errorf("%s is not a directory", dir)
	}
	return dir, nil
}

// PassedEnv selects those entries of environ that the command sees: PATH, HOME
// and everything that begins with GO or CLONE_.
func PassedEnv(environ []string) []string {
	var passed []string
	for _, e := range environ {
		key, _, _ := strings.Cut(e, "=")
		if key == "PATH" || key == "HOME" || strings.HasPrefix(key, "GO") || strings.HasPrefix(key, "CLONE_") {
			passed = append(passed, e)
		}
	}
	return passed
}

// order is what process 1 of the emulated host is told to do for cfg.
func (cfg Config) order(kernel hostKernel) inside.Order {
	return inside.Order{
		Command:  cfg.Command,
		Dir:      cfg.Dir,
		Env:      append(PassedEnv(os.Environ()), cfg.Env...),
		Writable: cfg.Writable,
		Kernel:   kernel.kernelDir,
		Modules:  kernel.modules,
		Stdin:    cfg.Stdin != nil,
	}
}
